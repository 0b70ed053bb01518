//! Parameters of the modules `rr`, `path` and `nathelper`.

/// Parameters of the module `rr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRoute {
    /// `append_fromtag`: the From tag is put into Record-Route, which shows directions later.
    pub append_fromtag: bool,
    /// `enable_double_rr`: when there are two lines.
    pub double: DoubleRecordRoute,
    /// `enable_full_lr`: `;lr=on` instead of `;lr`.
    pub full_lr: bool,
    /// `add_username`: the user of the request URI is put into Record-Route.
    pub add_username: bool,
    /// `force_send_socket`: the Route names the socket that the request leaves by.
    pub force_send_socket: bool,
    /// `ignore_sips`: Record-Route has `sip:` in any case.
    pub ignore_sips: bool,
    /// `sockname_mode`: Record-Route has the name of the listen line.
    pub socket_names: bool,
    /// `loose_route_mode`: bit 0 leaves strict routers before us out.
    pub loose_only: bool,
}

/// `enable_double_rr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DoubleRecordRoute {
    /// Never.
    Off,
    /// If the request leaves by another socket than it came by.
    IfDifferent,
    /// Always.
    Always,
}

impl Default for RecordRoute {
    fn default() -> RecordRoute {
        RecordRoute {
            append_fromtag: true,
            double: DoubleRecordRoute::IfDifferent,
            full_lr: false,
            add_username: false,
            force_send_socket: false,
            ignore_sips: false,
            socket_names: false,
            loose_only: false,
        }
    }
}

/// Parameters of the module `path`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathSettings {
    /// `use_received`: loose_route() sets `$du` by what a Path of ours said.
    pub use_received: bool,
    /// `received_format`: `address~port~number` instead of an escaped URI.
    pub is_short: bool,
    /// `received_name`: the parameter's name.
    pub received_name: String,
    /// `enable_r2`: there are two lines.
    pub double: bool,
    /// `sockname_mode`: Path has the name of the listen line.
    pub socket_names: bool,
}

impl Default for PathSettings {
    fn default() -> PathSettings {
        PathSettings {
            use_received: false,
            is_short: false,
            received_name: "received".to_owned(),
            double: false,
            socket_names: false,
        }
    }
}

/// Parameters of the module `nathelper`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatSettings {
    /// `nat_addr_mode`: all of 192.0.0.0/24 (RFC 6890) is private, too.
    pub is_wide: bool,
    /// `alias_name`: the name of the parameter with a contact's real address.
    pub alias_name: String,
}

impl Default for NatSettings {
    fn default() -> NatSettings {
        NatSettings {
            is_wide: true,
            alias_name: "alias".to_owned(),
        }
    }
}
