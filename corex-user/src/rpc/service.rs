//! What all front ends serve: a table of commands, for one daemon, within limits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::command::{Answer, Call, CommandTable, Handler, Outcome};
use super::daemon::Daemon;
use super::fault::Fault;
use super::fronts::Fronts;
use super::limits::{Client, RpcLimits};
use super::params::Params;
use crate::http::Rates;

/// Remote control of one daemon. Front ends share it in an [`Arc`].
pub struct Rpc {
    /// The table of commands.
    pub commands: CommandTable,
    /// The daemon that they read and steer.
    pub daemon: Arc<dyn Daemon>,
    /// Bounds for every client.
    pub limits: RpcLimits,
    /// What the front ends count, and who is connected.
    pub fronts: Fronts,
    rates: Mutex<Rates<Client>>,
}

impl Rpc {
    /// Serves these commands, for this daemon, within these limits.
    pub fn new(commands: CommandTable, daemon: Arc<dyn Daemon>, limits: RpcLimits) -> Rpc {
        Rpc {
            commands,
            daemon,
            rates: Mutex::new(Rates::new(limits.burst, limits.rate)),
            limits,
            fronts: Fronts::default(),
        }
    }

    /// Whether a client may send a request now.
    ///
    /// # Errors
    /// How long it must wait until it may.
    pub fn admit(&self, client: &Client) -> Result<(), Duration> {
        // Nobody panics between the parts of a change.
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(client.clone(), Instant::now())
    }

    /// What the command of this name answers; [`Answer::Nothing`] if there is none.
    pub fn answer(&self, method: &str) -> Answer {
        self.commands
            .find(method)
            .map_or(Answer::Nothing, |command| command.result)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// Its fault; 500 where there is no such command.
    pub async fn call(&self, method: &str, params: &Params) -> Outcome {
        self.fronts.count(|counters| &counters.requests);
        let outcome = match self.commands.find(method) {
            None => Err(Fault::failed(format!("command {method} not found"))),
            Some(command) => {
                let call = Call {
                    daemon: &*self.daemon,
                    commands: self.commands,
                    fronts: &self.fronts,
                    params,
                };
                match command.handler {
                    Handler::Now(run) => run(call),
                    Handler::Wait(run) => run(call).await,
                }
            }
        };
        if outcome.is_err() {
            self.fronts.count(|counters| &counters.faults);
        }
        outcome
    }
}
