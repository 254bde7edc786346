//! The results, beside their targets.

use serde_json::{Value, json};

/// The target of a result.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {}", number(limit)),
            Self::AtMost(limit) => format!("<= {}", number(limit)),
            Self::Below(limit) => format!("< {}", number(limit)),
        }
    }
}

/// Prints results at once, or collects them for one JSON object.
pub struct Report {
    json: bool,
    part: String,
    lines: Vec<Value>,
    head: Value,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self {
            json,
            part: String::new(),
            lines: Vec::new(),
            head: Value::Null,
        }
    }

    pub fn begin(&mut self, files: usize) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("?").to_owned();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.head = json!({"files": files, "cores": cores, "load_at_start": load});
        if !self.json {
            println!("{files} files, {cores} cores, load average {load} at the start");
        }
    }

    /// Begins a part.
    pub fn part(&mut self, title: &str) {
        title.clone_into(&mut self.part);
        if !self.json {
            println!("\n{title}");
        }
    }

    /// Adds a result without a target.
    pub fn line(&mut self, name: &str, value: f64, unit: &str) {
        self.add(name, value, unit, None);
    }

    /// Adds a result with a target.
    pub fn against(&mut self, name: &str, value: f64, unit: &str, target: Target) {
        self.add(name, value, unit, Some(target));
    }

    fn add(&mut self, name: &str, value: f64, unit: &str, target: Option<Target>) {
        if !self.json {
            let judged = target.map_or_else(String::new, |target| {
                format!("target {:<9} {}", target.text(), word(target.met(value)))
            });
            let line = format!("  {name:<58} {:>11} {unit:<12} {judged}", number(value));
            println!("{}", line.trim_end());
        }
        self.lines.push(json!({
            "part": self.part, "name": name, "value": value, "unit": unit,
            "target": target.map(Target::text), "met": target.map(|target| target.met(value)),
        }));
    }

    /// Adds a note to the part.
    pub fn note(&mut self, text: &str) {
        if !self.json {
            println!("  - {text}");
        }
        self.lines.push(json!({"part": self.part, "note": text}));
    }

    /// Prints the collected results.
    pub fn end(self) {
        if self.json {
            let Value::Object(mut whole) = self.head else {
                return;
            };
            whole.insert("measurements".to_owned(), Value::Array(self.lines));
            println!("{}", Value::Object(whole));
        }
    }
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "not met" }
}

fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == v.trunc() => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 4,
    };
    let plain = format!("{value:.digits$}");
    let (whole, rest) = plain
        .split_once('.')
        .map_or((plain.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

/// Returns the value at a share of sorted values, 0 to 1.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// Returns a count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
pub fn count(value: impl TryInto<u64>) -> f64 {
    value.try_into().unwrap_or(0) as f64
}
