//! The client against real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Redirect;
use axum::routing::{any, get};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::double::{self, Counter};

fn allowing(nets: &[&str]) -> Egress {
    let allow = nets.iter().map(|net| net.parse().unwrap()).collect();
    Egress::new(Policy { allow, ..Policy::default() }).unwrap()
}

fn get_of(url: impl Into<String>) -> OutboundRequest {
    OutboundRequest { timeout: Duration::from_secs(10), ..OutboundRequest::new(Method::GET, url) }
}

fn text(answer: &OutboundResponse) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

/// Ways to say "this machine" in a URL.
const LOOPBACK: &str = "
    127.0.0.1 127.1 127.0.1 127.255.255.254 127.0.0.1. 2130706433 0x7f000001 0x7f.1
    0x7F.0.0.0x1 017700000001 0177.0.0.1 %31%32%37.0.0.1 １２７.0.0.1 ①②⑦.0.0.1 127。0。0。1
    0.0.0.0 0 localhost LOCALHOST localhost. a.localhost
    [::1] [0:0:0:0:0:0:0:1] [::] [::127.0.0.1] [::ffff:127.0.0.1] [::ffff:7f00:1]
    [0:0:0:0:0:ffff:127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b:1::7f00:1]
    [2002:7f00:1::] [2001:0:7f00:1::1] [fe80::1%25lo]
";
/// URLs of this machine, PORT standing for a port that listens, in other forms.
const HERE: &str = r"
    ftp://127.0.0.1:PORT/ gopher://127.0.0.1:PORT/_a ws://127.0.0.1:PORT/ https:127.0.0.1:PORT
    https:/127.0.0.1:PORT/ https://127.0.0.1:PORT\@example.com/
    https://example.com@127.0.0.1:PORT/ https://example.com:443@127.0.0.1:PORT/
    https://127.0.0.1:PORT#@example.com/ https://127.0.0.1:PORT?@example.com/
";
/// URLs of what only the platform can reach, of what needs TLS, and of nothing.
const ELSEWHERE: &str = "
    https://169.254.169.254/latest/meta-data http://169.254.169.254/latest/meta-data
    https://[fd00:ec2::254]/ https://metadata.google.internal/ https://metadata.goog./
    https://100.100.100.200/ https://168.63.129.16/ https://192.0.0.192/ https://10.0.0.1/
    https://172.31.0.1/ https://192.168.1.1/ https://[fe80::1]/ https://[fc00::1]/
    https://224.0.0.1/ https://255.255.255.255/ https://[ff02::1]/ https://[::ffff:10.0.0.1]/
    http://1.1.1.1/ http://[2606:4700:4700::1111]/
    https://user@1.1.1.1/ https://user:pass@1.1.1.1/ https://:pass@1.1.1.1/
    1.1.1.1 //1.1.1.1/ https:// https:/// https://[::1 https://1.1.1.1:99999/ https://256.1.1.1/
    file:///etc/passwd data:text/plain,a unix:/run/a.sock javascript:alert(1)
";
const WITH_SPACES: [&str; 4] =
    ["", "https://1.1.1.1/\r\nhost: a", "https://1.1.1.1/\thttps://a", "https://1.1.1.1 .a/"];

fn hostile(port: u16) -> Vec<String> {
    let host = |host| [format!("https://{host}:{port}/"), format!("http://{host}:{port}/")];
    let mut urls: Vec<_> = LOOPBACK.split_ascii_whitespace().flat_map(host).collect();
    let here = HERE.split_ascii_whitespace();
    urls.extend(here.map(|url| url.replace("PORT", &port.to_string())));
    urls.extend(ELSEWHERE.split_ascii_whitespace().chain(WITH_SPACES).map(str::to_owned));
    urls
}

#[tokio::test]
async fn hostile_urls_are_refused_before_any_connection() {
    let counter = Counter::start().await;
    let egress = allowing(&[]);
    let urls = hostile(counter.port);
    assert!(urls.len() >= 100);
    for url in urls {
        for method in [Method::GET, Method::POST] {
            let error = egress.send(OutboundRequest::new(method, &url)).await.unwrap_err();
            let refused = matches!(error, EgressError::Denied | EgressError::Invalid(_));
            assert!(refused, "{url}: {error}");
        }
    }
    assert_eq!(counter.connections(), 0);
}

#[tokio::test]
async fn names_are_judged_by_their_addresses() {
    let counter = Counter::start().await;
    // The name passes for ::1, but it has, or also has, the address 127.0.0.1.
    let egress = allowing(&["::1/128"]);
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://localhost:{}/", counter.port);
        assert_eq!(egress.send(get_of(&url)).await.unwrap_err(), EgressError::Denied);
    }
    assert_eq!(counter.connections(), 0);
}

#[tokio::test]
async fn an_allowed_address_is_reached_by_http() {
    let address = double::http(Router::new().route("/", get(|| async { "hello" }))).await;
    let answer = allowing(&["127.0.0.0/8"]).send(get_of(format!("http://{address}/"))).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, text(&answer)), (200, "hello"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn a_mapped_origin_is_replaced_and_others_stay_forbidden() {
    let echo = |uri: Uri| async move { uri.to_string() };
    let address = double::http(Router::new().fallback(any(echo))).await;
    let map = vec![format!("https://petstore.example=http://{address}").parse().unwrap()];
    let egress = Egress::new(Policy { map, ..Policy::default() }).unwrap();
    let answer = egress.send(get_of("https://petstore.example/v2/pets?tag=a%20b")).await.unwrap();
    assert_eq!(text(&answer), "/v2/pets?tag=a%20b");
    let direct = egress.send(get_of(format!("http://{address}/"))).await;
    assert_eq!(direct.unwrap_err(), EgressError::Denied);
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_place_is_refused() {
    let counter = Counter::start().await;
    let target = format!("http://127.0.0.2:{}/", counter.port);
    let elsewhere = Redirect::temporary(&target);
    let address = double::http(Router::new().route("/", get(|| async { elsewhere }))).await;
    let egress = allowing(&["127.0.0.1/32"]);
    let answer = egress.send(get_of(format!("http://{address}/"))).await;
    assert_eq!(answer.unwrap_err(), EgressError::Denied);
    assert_eq!(counter.connections(), 0);
}

#[tokio::test]
async fn a_get_is_redirected_five_times_and_no_more() {
    let hop = |uri: Uri| async move {
        let left: u32 = uri.path()[1..].parse().unwrap();
        match left {
            0 => Err("arrived"),
            _ => Ok(Redirect::permanent(&format!("/{}", left - 1))),
        }
    };
    let address = double::http(Router::new().fallback(any(hop))).await;
    let egress = allowing(&["127.0.0.1/32"]);
    let arrived = egress.send(get_of(format!("http://{address}/5"))).await.unwrap();
    assert_eq!(text(&arrived), "arrived");
    let handed_back = egress.send(get_of(format!("http://{address}/6"))).await.unwrap();
    assert_eq!((handed_back.status, handed_back.header("location")), (308, Some("/0")));
}

#[tokio::test]
async fn other_methods_are_not_redirected() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let hop = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Redirect::temporary("/again") }
    };
    let address = double::http(Router::new().fallback(any(hop))).await;
    let egress = allowing(&["127.0.0.1/32"]);
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = OutboundRequest::new(method, format!("http://{address}/"));
        assert_eq!(egress.send(request).await.unwrap().status, 307);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn credentials_stay_with_the_origin_they_were_meant_for() {
    let echo = |headers: HeaderMap| async move {
        let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names.join(" ")
    };
    let routes = Router::new().route("/", get(echo));
    let there = double::http_on("127.0.0.2", routes.clone()).await;
    let target = Redirect::temporary(&format!("http://{there}/"));
    let routes = routes
        .route("/away", get(|| async { target }))
        .route("/stay", get(|| async { Redirect::temporary("/") }));
    let here = double::http(routes).await;
    let egress = allowing(&["127.0.0.0/8"]);
    let call = |path: &str| {
        let request = get_of(format!("http://{here}{path}"))
            .header("Authorization", "Bearer secret")
            .header("X-Api-Key", "secret")
            .header("Cookie", "secret")
            .header("Accept", "text/plain");
        egress.send(request)
    };
    let stayed = call("/stay").await.unwrap();
    assert_eq!(text(&stayed), "accept authorization cookie host user-agent x-api-key");
    let went_away = call("/away").await.unwrap();
    assert_eq!(text(&went_away), "accept host user-agent");
}

#[tokio::test]
async fn the_error_tells_whether_the_request_was_sent() {
    let egress = allowing(&["127.0.0.1/32"]);
    let refused = egress.send(get_of(format!("http://{}/", double::nobody().await))).await;
    assert!(matches!(refused, Err(EgressError::NotSent(_))), "{refused:?}");

    let hung_up = double::raw("").await;
    let hung_up = egress.send(get_of(format!("http://{hung_up}/"))).await;
    assert!(matches!(hung_up, Err(EgressError::Unknown { timed_out: false, .. })), "{hung_up:?}");

    let cut = double::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let cut = egress.send(get_of(format!("http://{cut}/"))).await;
    assert!(matches!(cut, Err(EgressError::Unknown { timed_out: false, .. })), "{cut:?}");

    let garbage = double::raw("SSH-2.0-OpenSSH\r\n").await;
    let garbage = egress.send(get_of(format!("http://{garbage}/"))).await;
    assert!(matches!(garbage, Err(EgressError::Unknown { timed_out: false, .. })), "{garbage:?}");

    let mut request = get_of(format!("http://{}/", double::silent().await));
    request.timeout = Duration::from_millis(50);
    let late = egress.send(request).await;
    assert!(matches!(late, Err(EgressError::Unknown { timed_out: true, .. })), "{late:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read_to_its_end() {
    let routes = Router::new()
        .route("/", get(|| async { vec![b'a'; 2000] }))
        .route("/large", get(|| async { vec![b'a'; MAX_BODY + 1] }));
    let address = double::http(routes).await;
    let egress = allowing(&["127.0.0.1/32"]);
    let limited = |path: &str, max_body| {
        egress.send(OutboundRequest { max_body, ..get_of(format!("http://{address}{path}")) })
    };
    assert_eq!(limited("/", 1999).await.unwrap_err(), EgressError::TooLarge { limit: 1999 });
    assert_eq!(limited("/", 2000).await.unwrap().body.len(), 2000);
    let capped = limited("/large", usize::MAX).await;
    assert_eq!(capped.unwrap_err(), EgressError::TooLarge { limit: MAX_BODY });
}

#[tokio::test]
async fn a_compressed_answer_stays_as_it_came() {
    let bomb = || async { ([(header::CONTENT_ENCODING, "gzip")], "as it came") };
    let address = double::http(Router::new().route("/", get(bomb))).await;
    let answer = allowing(&["127.0.0.1/32"]).send(get_of(format!("http://{address}/"))).await;
    assert_eq!(text(&answer.unwrap()), "as it came");
}

#[tokio::test]
async fn header_fields_that_would_change_the_request_are_refused() {
    let counter = Counter::start().await;
    let egress = allowing(&["127.0.0.1/32"]);
    let fields = [
        ("x-a", "b\r\nx-c: d"),
        ("x-a", "b\nc"),
        ("x-a", "b\0"),
        ("x-a\r\nx-b", "c"),
        ("x a", "b"),
        ("", "a"),
        ("Host", "a"),
        ("content-length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "x-a"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "a"),
    ];
    for (name, value) in fields {
        let request = get_of(format!("http://127.0.0.1:{}/", counter.port)).header(name, value);
        let error = egress.send(request).await.unwrap_err();
        assert!(matches!(error, EgressError::Invalid(_)), "{name}: {value}: {error}");
    }
    for method in ["CONNECT", "TRACE", "GET /x", ""] {
        let request = OutboundRequest::new(method, format!("http://127.0.0.1:{}/", counter.port));
        assert!(matches!(egress.send(request).await, Err(EgressError::Invalid(_))));
    }
    assert_eq!(counter.connections(), 0);
}

#[tokio::test]
async fn a_body_arrives_whole_and_any_status_is_an_answer() {
    let echo = |headers: HeaderMap, body: String| async move {
        let kind = headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        (StatusCode::IM_A_TEAPOT, format!("{kind} {body}"))
    };
    let address = double::http(Router::new().fallback(any(echo))).await;
    let request = OutboundRequest::new(Method::POST, format!("http://{address}/"))
        .json(&serde_json::json!({ "a": 1 }));
    let answer = allowing(&["127.0.0.1/32"]).send(request).await.unwrap();
    assert_eq!((answer.status, text(&answer)), (418, r#"application/json {"a":1}"#));
    assert!(!answer.is_success());
}

#[tokio::test]
async fn https_needs_a_certificate_of_a_trusted_authority() {
    let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = made;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                double::read_head(&mut stream).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                let _ = stream.write_all(answer).await;
            }
        }
    });
    let stranger = allowing(&["127.0.0.1/32"]).send(get_of(&url)).await;
    assert!(matches!(stranger, Err(EgressError::NotSent(_))), "{stranger:?}");
    let roots = vec![cert.der().clone()];
    let allow = vec!["127.0.0.1/32".parse().unwrap()];
    let egress = Egress::new(Policy { allow, roots, ..Policy::default() }).unwrap();
    assert_eq!(text(&egress.send(get_of(&url)).await.unwrap()), "ok");
}

#[test]
fn debug_shows_no_secret() {
    let request = get_of("https://api.example/secret?key=secret")
        .header("authorization", "Bearer secret")
        .json(&serde_json::json!({ "password": "secret" }));
    let shown = format!("{request:?}");
    assert!(shown.contains("https://api.example") && !shown.contains("secret"), "{shown}");
}
