//! What a call's status means for whoever made it.

use crate::sink::fault::{Fault, innermost, quoted};
use prost::Message;
use std::{error::Error, time::Duration};
use tonic::{Code, Status};

/// Whether the other side has answered; otherwise the status was made here of what broke, and has another error inside.
pub fn is_answer(status: &Status) -> bool {
    status.source().is_none()
}

/// Which codes may be tried again is said by OTLP ("OTLP/gRPC Response", "Failures"). Beyond that, so may `Unknown` and `Internal`: these
/// come of what breaks on the other side, or of an answer that is no gRPC.
pub fn fault(status: &Status) -> Fault {
    if !is_answer(status) {
        return Fault::later(innermost(status));
    }
    let why = format!("it answers {:?}: {}", status.code(), quoted(status.message().as_bytes()));
    let after = retry_delay(status.details());
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::Unavailable => Fault::later_after(why, after),
        Code::OutOfRange | Code::DataLoss | Code::Unknown | Code::Internal => Fault::later_after(why, after),
        // As with HTTP's 401, 403 and 404: somebody has to mend it, and until then the events wait.
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Fault::later_after(why, after),
        Code::ResourceExhausted if after.is_some() => Fault::later_after(why, after),
        _ => Fault::never(why),
    }
}

/// `google.rpc.Status`, which stands in `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
pub struct Details {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
pub struct Delay {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

fn retry_delay(details: &[u8]) -> Option<Duration> {
    let details = Details::decode(details).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(delay.seconds.try_into().unwrap_or(0), u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_delay(code: Code, seconds: i64) -> Status {
        let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos: 0 }) }.encode_to_vec();
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info };
        Status::with_details(
            code,
            "busy",
            Details { message: String::new(), details: vec![any] }.encode_to_vec().into(),
        )
    }

    #[test]
    fn what_may_be_tried_again_is_what_otlp_says() {
        let later = |seconds: Option<u64>| Some(seconds.map(Duration::from_secs));
        for (status, want) in [
            (Status::unavailable("x"), later(None)),
            (Status::cancelled("x"), later(None)),
            (Status::deadline_exceeded("x"), later(None)),
            (Status::aborted("x"), later(None)),
            (Status::out_of_range("x"), later(None)),
            (Status::data_loss("x"), later(None)),
            (Status::unknown("x"), later(None)),
            (with_delay(Code::Unavailable, 7), later(Some(7))),
            (with_delay(Code::ResourceExhausted, 7), later(Some(7))),
            (with_delay(Code::ResourceExhausted, -7), later(Some(0))),
            (Status::resource_exhausted("too large"), None),
            (Status::invalid_argument("x"), None),
            (Status::unauthenticated("x"), later(None)),
            (Status::unimplemented("x"), later(None)),
        ] {
            let got = match fault(&status) {
                Fault::Later { after, .. } => Some(after),
                Fault::Never { .. } => None,
            };
            assert_eq!(got, want, "{status:?}");
        }
    }
}
