//! What commands do to the daemon.
