//! What the guard's lists begin with.

use crate::{access::Permissions, guard::Listings};
use corex_script::Program;

/// What a configuration lists for the guard, with the group of address_file that it lets in, and who is
/// trusted.
pub fn of(program: &Program) -> Listings {
    let listings = program.shared_ref::<Listings>();
    let mut listings = listings.cloned().unwrap_or_default();
    if let Some(permissions) = program.shared_ref::<Permissions>() {
        listings.allow.extend(permissions.allowed());
        listings.trust.extend(permissions.trusts());
    }
    listings
}
