//! The networks that sources are told apart by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::syntax::ast::{Block, CaseLabel, Expr, ExprKind, File, ItemKind, Stmt, StmtKind};
use crate::syntax::span::Span;

/// Networks at most that a listener's sources are told apart by.
pub(super) const MAX: usize = 256;

/// A network; what is in a smaller one that the configuration names isn't meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Network {
    /// The bits beyond the prefix are zero.
    pub address: IpAddr,
    pub len: u8,
}

impl Network {
    /// All addresses of a family.
    pub fn all(is_ipv4: bool) -> Network {
        let address = if is_ipv4 {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        Network { address, len: 0 }
    }

    /// The network that an address is in; without a prefix, that address alone.
    pub fn of(address: IpAddr, prefix: Option<u8>) -> Network {
        match address {
            IpAddr::V4(address) => {
                let len = prefix.unwrap_or(32).min(32);
                let host = u32::MAX.checked_shr(len.into()).unwrap_or(0);
                let address = Ipv4Addr::from_bits(address.to_bits() & !host).into();
                Network { address, len }
            }
            IpAddr::V6(address) => {
                let len = prefix.unwrap_or(128).min(128);
                let host = u128::MAX.checked_shr(len.into()).unwrap_or(0);
                let address = Ipv6Addr::from_bits(address.to_bits() & !host).into();
                Network { address, len }
            }
        }
    }

    /// Whether the addresses of this class are in a network. Since a network that the
    /// configuration names is a class of its own, either all are or none is.
    pub fn is_in(self, address: IpAddr, prefix: Option<u8>) -> bool {
        let other = Network::of(address, prefix);
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.len >= other.len
            && Network::of(self.address, Some(other.len)) == other
    }
}

/// All networks and addresses of a family that the routes name, each once.
///
/// # Errors
/// Where the first one too many is.
pub(super) fn of(file: &File, is_ipv4: bool) -> Result<Vec<Network>, Span> {
    let mut found = Found {
        networks: Vec::new(),
        is_ipv4,
        excess: None,
    };
    for item in &file.items {
        if let ItemKind::Route(route) = &item.kind {
            found.block(&route.body);
        }
    }
    match found.excess {
        Some(span) => Err(span),
        None => Ok(found.networks),
    }
}

struct Found {
    networks: Vec<Network>,
    is_ipv4: bool,
    excess: Option<Span>,
}

impl Found {
    fn block(&mut self, block: &Block) {
        self.statements(&block.statements);
    }

    fn statements(&mut self, statements: &[Stmt]) {
        for statement in statements {
            match &statement.kind {
                StmtKind::Block(block) => self.block(block),
                StmtKind::If { arms, otherwise } => {
                    for arm in arms {
                        self.expr(&arm.condition);
                        self.block(&arm.body);
                    }
                    if let Some(block) = otherwise {
                        self.block(block);
                    }
                }
                StmtKind::While { condition, body } => {
                    self.expr(condition);
                    self.block(body);
                }
                StmtKind::Switch { subject, cases } => {
                    self.expr(subject);
                    for case in cases {
                        if let CaseLabel::Value(label) = &case.label.kind {
                            self.expr(label);
                        }
                        self.statements(&case.statements);
                    }
                }
                StmtKind::Return(Some(value)) | StmtKind::Expr(value) => self.expr(value),
                _ => {}
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Ip { address, prefix } => self.add(*address, *prefix, expr.span),
            ExprKind::Str(text) => {
                if let Some(address) = text.as_str().and_then(|text| text.parse().ok()) {
                    self.add(address, None, expr.span);
                }
            }
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            _ => {}
        }
    }

    fn add(&mut self, address: IpAddr, prefix: Option<u8>, span: Span) {
        let network = Network::of(address, prefix);
        if address.is_ipv4() != self.is_ipv4 || network.len == 0 || self.networks.contains(&network)
        {
            return;
        }
        if self.networks.len() == MAX {
            self.excess.get_or_insert(span);
            return;
        }
        self.networks.push(network);
    }
}
