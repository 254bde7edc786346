use super::*;

fn sign_in() -> SignIn {
    SignIn {
        issuer: Some("https://issuer.example/pool".to_owned()),
        client_id: "client".to_owned(),
        origins: vec!["https://sign-in.example".to_owned()],
        role_claim: "custom:role".to_owned(),
        live_url: "wss://live.example/live".to_owned(),
        content_url: Some("https://content.example".to_owned()),
    }
}

fn site() -> Site {
    Site::new(&sign_in())
}

fn request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder().method(method).uri(path)
}

fn get(path: &str) -> Response<Body> {
    handle(&request("GET", path).body(Body::Empty).unwrap(), &site())
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

fn text(response: &Response<Body>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

#[test]
fn every_state_of_the_console_is_the_page() {
    for path in [
        "/console",
        "/console/",
        "/console/c/c_01/files/f",
        "/console/config",
        "/console/c/a.b",
    ] {
        let page = get(path);
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&page, "cache-control"), "no-cache");
    }
    for path in [
        "/consoles",
        "/console/a/other/main.js",
        "/console/a/",
        "/v1",
    ] {
        assert_eq!(get(path).status(), 404, "{path}");
    }
    let root = get("/");
    assert_eq!(root.status(), 307);
    assert_eq!(header(&root, "location"), "/console");
    let posted = request("POST", "/console").body(Body::Empty).unwrap();
    assert_eq!(handle(&posted, &site()).status(), 405);
}

#[test]
fn the_page_loads_files_that_never_change() {
    let page = get("/console");
    let page = text(&page);
    let mut loaded = 0;
    for address in page.split('"').filter(|part| part.starts_with("/console/")) {
        let file = get(address);
        assert_eq!(file.status(), 200, "{address}");
        assert_eq!(
            header(&file, "cache-control"),
            "public, max-age=31536000, immutable"
        );
        loaded += 1;
    }
    assert!(loaded >= 4, "{page}");
    assert!(!page.contains("<!-- modules -->") && !page.contains("/a/release"));
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let first = get("/console");
    let tag = header(&first, "etag");
    assert!(tag.starts_with('"'), "{tag}");
    for (known, status) in [
        (tag.to_owned(), 304),
        (format!("\"x\", {tag}"), 304),
        ("\"x\"".to_owned(), 200),
    ] {
        let request = request("GET", "/console").header("if-none-match", known);
        let answer = handle(&request.body(Body::Empty).unwrap(), &site());
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "etag"), tag);
    }
}

#[test]
fn nothing_else_may_run_frame_or_be_called() {
    for path in ["/console", "/console/config.json", "/console/a/none", "/"] {
        let answer = get(path);
        assert_eq!(
            header(&answer, "content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self' wss://live.example https://issuer.example https://sign-in.example \
             https://content.example; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types lit-html"
        );
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        assert_eq!(header(&answer, "cross-origin-opener-policy"), "same-origin");
    }
}

#[test]
fn a_setting_that_is_no_url_is_refused() {
    let settings = |name: &str, value: &str| {
        let all = [
            ("ISSUER", "https://issuer.example/pool"),
            ("ROLE_CLAIM", "custom:role"),
            ("LIVE_URL", "wss://live.example/live"),
            (
                "SIGN_IN_ORIGINS",
                "https://sign-in.example https://second.example/x",
            ),
        ];
        Settings::from_pairs(all.map(|(key, old)| (key, if key == name { value } else { old })))
    };
    let site = Site::load(&settings("", "")).unwrap();
    let answer = handle(&request("GET", "/").body(Body::Empty).unwrap(), &site);
    let policy = header(&answer, "content-security-policy");
    assert!(
        policy.contains("https://sign-in.example https://second.example;"),
        "{policy}"
    );
    for url in [
        "",
        "example.com",
        "data:x",
        "https://a b",
        "https://a;script-src",
    ] {
        assert!(Site::load(&settings("LIVE_URL", url)).is_err(), "{url}");
    }
    let injected = settings("SIGN_IN_ORIGINS", "https://a.example/; script-src *");
    assert!(Site::load(&injected).is_err());
}

#[test]
fn the_console_is_smaller_than_it_may_be() {
    // Uncompressed, and about four times what it is when compressed.
    let bytes: usize = ASSETS.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 320_000, "{bytes}");
}

#[test]
fn the_pages_know_who_signs_people_in() {
    let config: serde_json::Value =
        serde_json::from_str(text(&get("/console/config.json"))).unwrap();
    assert_eq!(config["issuer"], "https://issuer.example/pool");
    assert_eq!(config["local"], false);
    assert_eq!(config["token_path"], serde_json::Value::Null);
}

#[test]
fn sample_events_are_answered() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/console");
    let expected = [
        ("config", 200),
        ("deep-link", 200),
        ("file-of-another-release", 404),
        ("known-page", 304),
        ("page", 200),
        ("root", 307),
    ];
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), expected.len());
    for (name, status) in expected {
        let event = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
        let request = lambda_http::request::from_str(&event).unwrap();
        assert_eq!(handle(&request, &site()).status(), status, "{name}");
    }
}

#[test]
fn comments_are_not_sent() {
    let script = "// One.\n/** Two. */\n/**\n * @param {x} y\n */\n\
                  let a = /** @type {any} */ (b);\n\
                  /** @type {c} */ (d).e();\n  // Three.\n  f(); // Four.\n";
    let sent = without_comments(script.as_bytes());
    let sent = std::str::from_utf8(&sent).unwrap();
    assert_eq!(
        sent.split('\n')
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>(),
        [
            "let a = /** @type {any} */ (b);",
            "/** @type {c} */ (d).e();",
            "  f(); // Four."
        ]
    );
    assert_eq!(sent.lines().count(), script.lines().count());
}
