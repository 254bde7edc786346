//! The console examples of `functions/api/README.md` are real: they run in order against one
//! system, and every answer is compared with the text.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use local::aws::Queue;
use serde_json::{Value, json};
use sqs_fifo::NewMessage;

use crate::support::{World, eventually, own, top};

/// The time within which a read must match. A write is compared once.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// A command of the examples, and the text that follows it.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    output: String,
}

/// Returns the examples of all console blocks, in order.
fn examples(markdown: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut is_console = false;
    let mut continues = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            is_console = line == "```console";
            continue;
        }
        if !is_console {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            continues = command.ends_with('\\');
            let command = command.trim_end_matches('\\').to_owned();
            let output = String::new();
            found.push(Example { command, output });
        } else if let Some(last) = found.last_mut() {
            if continues {
                continues = line.ends_with('\\');
                last.command.push_str(line.trim_end_matches('\\'));
            } else {
                last.output.push_str(line);
                last.output.push('\n');
            }
        }
    }
    found
}

/// The variables of the shell. An array is a list of words.
type Variables = BTreeMap<String, Vec<String>>;

/// Splits a command into words as a shell does: quotes, `$NAME`, `${NAME[@]}`, arrays in
/// parentheses, and `$(printf 'TEXT' | sha256sum | cut -c-64)`.
fn words(command: &str, variables: &Variables) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = command;
    let mut is_quoted = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            ' ' if !is_quoted => words.extend(word.take()),
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\'' if !is_quoted => {
                let (text, behind) = rest.split_once('\'').expect("a closing quote");
                word.get_or_insert_default().push_str(text);
                rest = behind;
            }
            '$' => {
                if let Some(behind) = rest.strip_prefix("(printf '") {
                    let (text, behind) = behind.split_once("' | sha256sum | cut -c-64)").unwrap();
                    let hash = sha256(text);
                    word.get_or_insert_default().push_str(&hash);
                    rest = behind;
                } else if let Some((name, behind)) = rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once("[@]}"))
                {
                    words.extend(variables[name].iter().cloned());
                    rest = behind.strip_prefix('"').unwrap_or(behind);
                    (word, is_quoted) = (None, false);
                } else {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    let value = variables.get(name).map(|words| words.join(" "));
                    let value = value.unwrap_or_else(|| panic!("${name} is not set"));
                    word.get_or_insert_default().push_str(&value);
                    rest = behind;
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request, as the options of curl describe it.
#[derive(Debug, Default, PartialEq)]
struct Request {
    method: Method,
    url: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    shows_headers: bool,
}

/// Reads the subset of curl's options that the examples use.
fn request(words: &[String]) -> Request {
    let mut request = Request::default();
    let mut method = None;
    let mut words = words.iter();
    assert_eq!(words.next().unwrap(), "curl");
    while let Some(word) = words.next() {
        let mut argument = || {
            words
                .next()
                .unwrap_or_else(|| panic!("{word} has no argument"))
        };
        match word.as_str() {
            "-s" => {}
            "-i" => request.shows_headers = true,
            "-X" => method = Some(argument().parse().unwrap()),
            "-H" => {
                let (name, value) = argument().split_once(": ").unwrap();
                let name = name.to_ascii_lowercase();
                request.headers.insert(name, value.to_owned());
            }
            "-d" | "--data-binary" => request.body = Some(argument().clone()),
            option if option.starts_with('-') => panic!("{option} is not supported"),
            url => request.url = url.to_owned(),
        }
    }
    let default = if request.body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    request.method = method.unwrap_or(default);
    request
}

/// An answer as the text shows it, or as it arrived.
#[derive(Debug, Default)]
struct Shown {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
}

/// Splits the expected output of a command.
fn shown(output: &str) -> Shown {
    let mut shown = Shown::default();
    for line in output.lines() {
        if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
            shown.status = Some(status[..3].parse().unwrap());
        } else if let Some((name, value)) = line.split_once(": ")
            && shown.body.is_empty()
            && shown.status.is_some()
        {
            shown.headers.push((name.to_owned(), value.to_owned()));
        } else {
            shown.body.push_str(line.trim());
        }
    }
    shown
}

/// Makes JSON of a text with `...` for what is left out: a value `"..."`, a member of that name
/// for further members, an element of that value for further elements.
fn template(text: &str) -> Value {
    let mut json = String::new();
    let mut containers = Vec::new();
    let mut is_text = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !is_text && let Some(behind) = rest.strip_prefix("...") {
            let is_member = containers.last() == Some(&'{') && !json.ends_with(':');
            json.push_str(if is_member {
                r#""...":"...""#
            } else {
                r#""...""#
            });
            rest = behind;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        json.push(c);
        match c {
            '\\' if is_text => {
                let escaped = rest.chars().next().unwrap();
                json.push(escaped);
                rest = &rest[escaped.len_utf8()..];
            }
            '"' => is_text = !is_text,
            '{' | '[' if !is_text => containers.push(c),
            '}' | ']' if !is_text => {
                containers.pop();
            }
            _ => {}
        }
    }
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Returns whether `text` is `pattern`, in which `...` stands for any text.
fn matches_text(pattern: &str, text: &str) -> bool {
    let Some((start, pattern)) = pattern.split_once("...") else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    loop {
        if matches_text(pattern, text) {
            return true;
        }
        let Some(c) = text.chars().next() else {
            return false;
        };
        text = &text[c.len_utf8()..];
    }
}

/// The shortened texts of the page (`1VEQjR...`), and what they stand for in this run.
type Shortened = BTreeMap<String, String>;

/// Compares an answer with its template. Returns where they differ.
fn difference(template: &Value, actual: &Value, shortened: &mut Shortened) -> Option<String> {
    match (template, actual) {
        (Value::String(pattern), _) if pattern == "..." => None,
        (Value::String(pattern), Value::String(text)) if is_shortened(pattern) => {
            let known = shortened
                .entry(pattern.clone())
                .or_insert_with(|| text.clone());
            (known != text).then(|| format!("{pattern} was {known} before and is {text}"))
        }
        (Value::String(pattern), Value::String(text)) => {
            (!matches_text(pattern, text)).then(|| format!("{text:?} is not {pattern:?}"))
        }
        (Value::Object(members), Value::Object(found)) => {
            let is_open = members.contains_key("...");
            let surplus = found.keys().find(|name| !members.contains_key(*name));
            if let Some(name) = surplus.filter(|_| !is_open) {
                return Some(format!("{name} is not in the text"));
            }
            let mut named = members.iter().filter(|(name, _)| *name != "...");
            named.find_map(|(name, member)| {
                let Some(found) = found.get(name) else {
                    return Some(format!("{name} is missing"));
                };
                let within = difference(member, found, shortened)?;
                Some(format!("{name}: {within}"))
            })
        }
        (Value::Array(elements), Value::Array(found)) => {
            let is_open = elements.last().is_some_and(|last| last == "...");
            let named = elements.len() - usize::from(is_open);
            if found.len() < named || (found.len() > named && !is_open) {
                return Some(format!("{} elements in place of {named}", found.len()));
            }
            let mut pairs = elements[..named].iter().zip(found);
            pairs.find_map(|(element, found)| difference(element, found, shortened))
        }
        _ => (template != actual).then(|| format!("{actual} is not {template}")),
    }
}

/// Returns whether a text is an id that the page shortens: one word with `...` at its end.
fn is_shortened(text: &str) -> bool {
    let id = text.strip_suffix("...").unwrap_or_default();
    id.len() > 4
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Runs examples in order against one system.
struct Console<'a> {
    world: &'a World,
    variables: Variables,
    shortened: Shortened,
}

impl<'a> Console<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            variables: Variables::new(),
            shortened: Shortened::new(),
        }
    }

    /// Runs one example. Returns the difference between the answer and the text.
    async fn run(&mut self, example: &Example) -> Result<(), String> {
        if !example.command.starts_with("curl ") {
            self.assign(&example.command);
            return Ok(());
        }
        let request = request(&words(&example.command, &self.variables));
        let expected = shown(&example.output);
        let end = tokio::time::Instant::now() + READ_WITHIN;
        loop {
            let compared = self.send(&request, &expected).await;
            let is_final = request.method != Method::GET || tokio::time::Instant::now() > end;
            if compared.is_ok() || is_final {
                return compared.map_err(|why| format!("{}\n{why}", example.command));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sets variables: `NAME=VALUE NAME=VALUE` or `NAME=(WORD ...)`. The start of the system
    /// decides the addresses, the connection and the token.
    fn assign(&mut self, command: &str) {
        if let Some((name, array)) = command.split_once("=(") {
            let array = words(array.strip_suffix(')').unwrap(), &self.variables);
            self.variables.insert(name.to_owned(), array);
            return;
        }
        let assignments = words(command, &self.variables);
        for assignment in assignments {
            let (name, written) = assignment.split_once('=').unwrap();
            let value = match name {
                "API" => self.world.api_url.clone(),
                "C" => self.world.connection.clone(),
                "TOKEN" => self.world.token.clone(),
                "D" => format!("{}/drive/v3", self.world.drive_url),
                _ if is_shortened(written) => match self.shortened.get(written) {
                    Some(value) => value.clone(),
                    None => panic!("{written} is in no answer before"),
                },
                _ => written.to_owned(),
            };
            self.variables.insert(name.to_owned(), vec![value]);
        }
    }

    async fn send(&mut self, request: &Request, expected: &Shown) -> Result<(), String> {
        let mut sent = self
            .world
            .http
            .request(request.method.clone(), &request.url);
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        if let Some(body) = &request.body {
            sent = sent.body(body.clone());
        }
        let answer = sent.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await.unwrap();
        if expected.status.is_some() != request.shows_headers {
            return Err("a status line is shown if and only if curl has -i".to_owned());
        }
        if expected.status.is_some_and(|expected| expected != status) {
            return Err(format!("the status is {status}: {body}"));
        }
        for (name, pattern) in &expected.headers {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            if !value.is_some_and(|value| matches_text(pattern, value)) {
                return Err(format!("{name} is {value:?}, not {pattern}"));
            }
        }
        if expected.body == "..." {
            return Ok(());
        }
        let actual = serde_json::from_str(&body).unwrap_or(Value::Null);
        // What a wrong answer shows is not remembered: a later one may be right.
        let mut shortened = self.shortened.clone();
        match difference(&template(&expected.body), &actual, &mut shortened) {
            Some(why) => Err(format!("{why}\nin {body}")),
            None => {
                self.shortened = shortened;
                Ok(())
            }
        }
    }
}

/// Uploads `plan.txt` to Drive as the library's owner. Returns its id.
async fn upload_plan(world: &World) -> String {
    let url = format!(
        "{}/upload/drive/v3/files?uploadType=multipart",
        world.drive_url
    );
    let parts = [
        "--part\r\nContent-Type: application/json\r\n\r\n",
        r#"{"name":"plan.txt","mimeType":"text/plain"}"#,
        "\r\n--part\r\nContent-Type: text/plain\r\n\r\nFirst draft.\n\r\n--part--\r\n",
    ];
    let upload = world.http.post(url).body(parts.concat());
    let upload = upload
        .header("authorization", "Bearer user:owner")
        .header("content-type", "multipart/related; boundary=part");
    let answer = upload.send().await.unwrap().bytes().await.unwrap();
    let file: Value = serde_json::from_slice(&answer).unwrap();
    file["id"].as_str().unwrap().to_owned()
}

/// Creates what the page assumes: content is mirrored, and the library has `plan.txt`.
async fn prepare(world: &World) {
    let settings = json!({"content": {"enabled": true}});
    let answer = world
        .api(Method::PATCH, "", &[("if-match", "*")], Some(settings))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let plan = upload_plan(world).await;
    eventually("plan.txt is stored", async || {
        let path = format!("/files/{plan}/content");
        let answer = world.api(Method::GET, &path, &[], None).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Makes dead letters of two messages. They are sent again by themselves after half a minute, and
/// at once after a resumption or a sync, whose effect is awaited.
async fn set_messages_aside(world: &World) {
    eventually("no dead letter is sent again at once", async || {
        let schedule = world.store().load_redrive_schedule(&world.key).await;
        schedule.unwrap().is_none().then_some(())
    })
    .await;
    for number in 0..2 {
        let body = json!({
            "v": 1, "tenant": world.key.tenant.as_str(), "connection": world.connection,
            "cause": "live", "file": world.take(), "at": "2026-01-01T00:00:00.000Z",
            "removed": true,
        });
        let (dead, group) = (Queue::Snapshots.dead_letter_name(), number.to_string());
        let message = NewMessage::new(&group, &group, body.to_string());
        world.system.aws.sqs().send(dead, message).unwrap();
    }
}

#[test]
fn the_examples_of_the_api_readme_are_real() {
    let markdown = std::fs::read_to_string(top().join("functions/api/README.md")).unwrap();
    let examples = examples(&markdown);
    assert!(examples.len() > 30, "{} examples", examples.len());
    let of_letters = |example: &Example| example.command.contains("/v1/dead-letters");
    let first_of_letters = examples.iter().position(of_letters).unwrap();
    own(async |world| {
        prepare(world).await;
        let mut console = Console::new(world);
        for (number, example) in examples.iter().enumerate() {
            if number == first_of_letters {
                set_messages_aside(world).await;
            }
            if let Err(why) = console.run(example).await {
                panic!("{why}");
            }
        }
    });
}

#[test]
fn a_wrong_example_is_found() {
    let start = "$ API=x  C=c_1  TOKEN=...\n\
        $ A=(-s -H \"Authorization: Bearer $TOKEN\")\n";
    let wrong = [
        "$ curl -i \"${A[@]}\" $API/health\nHTTP/1.1 201 Created\n{\"status\":\"ok\"}\n",
        "$ curl -i \"${A[@]}\" $API/health\nHTTP/1.1 200 OK\netag: \"1\"\n...\n",
        "$ curl \"${A[@]}\" $API/health\n{\"status\":\"bad\"}\n",
        "$ curl \"${A[@]}\" $API/v1/stats\n{\"partial\":false}\n",
        "$ curl \"${A[@]}\" -X POST $API/v1/connections -d '{}'\n{\"status\":201,...}\n",
    ];
    let right = "$ curl -i \"${A[@]}\" $API/health\nHTTP/1.1 200 OK\n{\"status\":\"ok\"}\n\
        $ curl \"${A[@]}\" $API/v1/stats\n{\"partial\":false,...}\n";
    own(async |world| {
        let outcomes = async |text: &str| {
            let mut console = Console::new(world);
            let mut outcomes = Vec::new();
            for example in examples(&format!("```console\n{start}{text}```\n")) {
                if !example.command.starts_with("curl ") {
                    console.assign(&example.command);
                    continue;
                }
                let request = request(&words(&example.command, &console.variables));
                outcomes.push(console.send(&request, &shown(&example.output)).await);
            }
            outcomes
        };
        for text in wrong {
            assert!(outcomes(text).await.iter().all(Result::is_err), "{text}");
        }
        let outcomes = outcomes(right).await;
        assert_eq!(outcomes, [Ok(()), Ok(())]);
    });
}
