//! The first bytes of what devices and servers say to one another beside messages: enrolment.

use crate::codec::Role;

/// A device brings its key: to a server.
pub(crate) const ENROLMENT: u8 = 0xc3;
/// A server answers that: to a client.
pub(crate) const ACKNOWLEDGEMENT: u8 = 0xc4;
/// A server doesn't know the device that a message is from: to a client.
pub(crate) const UNKNOWN: u8 = 0xc5;

/// Whether what begins so is for those in this role.
pub(crate) fn is_for(role: Role, first: u8) -> bool {
    match role {
        Role::Server => first == ENROLMENT,
        Role::Client => matches!(first, ACKNOWLEDGEMENT | UNKNOWN),
    }
}
