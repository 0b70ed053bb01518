//! Reloads, one after the other: signals and remote control ask for them, and the rest of the
//! control thread goes on meanwhile.

use tokio::sync::{mpsc, oneshot};

use super::{reload::Reloader, remote::Remote, service, workers::Workers};

/// Reloads that may wait.
const WAITING: usize = 32;

/// What is read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The configuration, its scripts among it.
    Configuration,
    /// The scripts that a module brings.
    Scripts(&'static str),
}

/// Where it is told what came of it: what is wrong, with the reason.
pub type Answer = oneshot::Sender<Result<(), String>>;

struct Request {
    what: What,
    by: &'static str,
    answer: Option<Answer>,
}

/// Takes requests.
pub struct Queue(mpsc::Sender<Request>);

/// Hands them out.
pub struct Requests(mpsc::Receiver<Request>);

/// A queue, and its other end.
pub fn queue() -> (Queue, Requests) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Queue(sender), Requests(receiver))
}

impl Queue {
    /// Asks for a reload. Too many that wait are refused at once.
    pub fn ask(&self, what: What, by: &'static str, answer: Option<Answer>) {
        let request = Request { what, by, answer };
        if let Err(error) = self.0.try_send(request) {
            let reason = format!("{WAITING} reloads wait already");
            tracing::error!("{by}: {reason}");
            if let Some(answer) = error.into_inner().answer {
                // Who asked may be gone by now.
                let _ = answer.send(Err(reason));
            }
        }
    }
}

/// Does what is asked for, in turn, for ever.
pub async fn serve(
    mut requests: Requests,
    reloader: &Reloader,
    workers: &Workers,
    remote: &Remote,
    status: &str,
) {
    while let Some(Request { what, by, answer }) = requests.0.recv().await {
        let outcome = match what {
            What::Configuration => {
                service::reloading();
                let outcome = reloader.reload(workers, &remote.log).await;
                service::ready(status);
                outcome
            }
            What::Scripts(module) => reloader.reload_scripts(module).await,
        };
        let outcome = match outcome {
            Ok(()) => {
                match what {
                    What::Configuration => tracing::info!("{by}: the configuration was read again"),
                    What::Scripts(module) => {
                        tracing::info!("{by}: the files of {module} were read again");
                    }
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!("{by}: {error:#}");
                Err(format!("{error:#}"))
            }
        };
        if let Some(answer) = answer {
            // Who asked may be gone by now.
            let _ = answer.send(outcome);
        }
    }
}
