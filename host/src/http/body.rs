//! The body of an answer: bytes that are there, or a feed of them.

use super::Feed;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body as HttpBody, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::{mpsc, watch};

/// What hyper sends.
pub type Body = Either<Full<Bytes>, Fed>;

/// Bytes as a feed gives them.
pub struct Fed(mpsc::Receiver<Bytes>);

impl Fed {
    /// Asks `feed` for more whenever the client has taken what came before; ends with it, or when `ending` says so, or when the client goes.
    pub fn start(mut feed: Box<dyn Feed>, mut ending: watch::Receiver<bool>) -> Self {
        // One piece waits while one is on its way.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let pump = async {
                while let Ok(place) = sender.reserve().await {
                    let Some(bytes) = feed.next().await else { return };
                    place.send(bytes);
                }
            };
            tokio::select! {
                () = pump => {}
                // Whether it is said, or nobody is left to say it.
                _ = ending.wait_for(|ending| *ending) => {}
                () = sender.closed() => {}
            }
        });
        Self(receiver)
    }
}

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
