//! Requests to the collector, by gRPC or HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::config::{Otlp, OtlpProtocol};

/// How long the collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// And to be connected to.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may be later: nobody answers, or what answers does not take requests as it is set up.
    #[error("{0}")]
    Away(String),
    /// It never will be, since the collector says that it is not right.
    #[error("{0}")]
    Refused(String),
}

/// Where requests go.
#[derive(Clone, Debug)]
pub enum Collector {
    /// By gRPC.
    Grpc(TraceServiceClient<Channel>),
    /// By HTTP, as binary Protobuf.
    Http(Box<Client<HttpConnector, Full<Bytes>>>, Uri),
}

impl Collector {
    /// Connects with the first request. To be called inside a runtime.
    ///
    /// # Errors
    /// The endpoint is no address.
    pub fn new(otlp: &Otlp) -> Result<Self, SendError> {
        let wrong =
            |error: &dyn std::fmt::Display| SendError::Away(format!("{} is no address: {error}", otlp.endpoint));
        match otlp.protocol {
            OtlpProtocol::Grpc => {
                let endpoint = Endpoint::from_shared(otlp.endpoint.clone()).map_err(|error| wrong(&error))?;
                Ok(Self::Grpc(TraceServiceClient::new(endpoint.connect_timeout(CONNECTS_WITHIN).connect_lazy())))
            }
            OtlpProtocol::Http => {
                let uri = otlp.traces_url().parse().map_err(|error| wrong(&error))?;
                let mut connector = HttpConnector::new();
                connector.set_connect_timeout(Some(CONNECTS_WITHIN));
                Ok(Self::Http(Box::new(Client::builder(TokioExecutor::new()).build(connector)), uri))
            }
        }
    }

    /// Sends a request; how many of its spans the collector did not take.
    ///
    /// # Errors
    /// It did not take the request.
    pub async fn send(self, request: Vec<u8>) -> Result<u64, SendError> {
        let sending = async {
            match self {
                Self::Grpc(client) => grpc(client, &request).await,
                Self::Http(client, uri) => http(*client, uri, request).await,
            }
        };
        let late = |_| SendError::Away(format!("no answer within {} s", PATIENCE.as_secs()));
        let answer = tokio::time::timeout(PATIENCE, sending).await.map_err(late)??;
        Ok(answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
    }
}

async fn grpc(
    mut client: TraceServiceClient<Channel>,
    request: &[u8],
) -> Result<ExportTraceServiceResponse, SendError> {
    let unreadable = |error: prost::DecodeError| SendError::Refused(format!("what waited is no request: {error}"));
    let request = ExportTraceServiceRequest::decode(request).map_err(unreadable)?;
    client.export(request).await.map(tonic::Response::into_inner).map_err(|status| {
        let said = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::InvalidArgument => SendError::Refused(said),
            // Also what says that the endpoint is the wrong one, or is not let in: it waits until that is put right.
            _ => SendError::Away(said),
        }
    })
}

async fn http(
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    request: Vec<u8>,
) -> Result<ExportTraceServiceResponse, SendError> {
    let away = |error: &dyn std::fmt::Display| SendError::Away(error.to_string());
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        // Also of a request that is empty, which has none otherwise.
        .header(header::CONTENT_LENGTH, request.len())
        .header(header::USER_AGENT, concat!("lacuna/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(request)))
        .map_err(|error| away(&error))?;
    let answer = client.request(request).await.map_err(|error| away(&chain(&error)))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| away(&error))?;
    match status {
        // An answer that is no Protobuf is as good as an empty one.
        _ if status.is_success() => Ok(ExportTraceServiceResponse::decode(body.to_bytes()).unwrap_or_default()),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Err(SendError::Refused(status.to_string())),
        _ => Err(SendError::Away(status.to_string())),
    }
}

/// An error with all that it came from: the first alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
