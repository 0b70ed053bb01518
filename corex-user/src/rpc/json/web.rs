//! JSON-RPC over HTTP.

use std::sync::Arc;

use super::answer::answer;
use crate::http::{Handler, Request, Response};
use crate::rpc::service::Rpc;

/// What serves `POST /RPC`.
pub fn route(rpc: Arc<Rpc>, pretty: bool) -> Handler {
    Arc::new(move |request: Request| {
        let rpc = Arc::clone(&rpc);
        Box::pin(async move {
            let answered = answer(&rpc, &request.body, pretty).await;
            Response {
                status: answered.status,
                reason: answered.reason.map(|reason| reason.into_owned()),
                content_type: "application/json",
                body: answered.body.unwrap_or_default(),
            }
        })
    })
}
