//! Conversion between names and paths.

/// The longest path that is shown complete, in bytes. Of a longer one, the topmost folders are left
/// out. A hundred folders of 255 bytes are well below the limit. A file's own name is never cut.
pub const PATH_BYTES_MAX: usize = 64 * 1024;

/// The prefix of a path whose topmost folders are unknown or left out.
const ELLIPSIS: &str = "…";

/// Joins escaped names, the lowest first, with a slash before each.
pub(super) fn joined(names: &[&str], whole: bool) -> String {
    let mut parts: Vec<String> = Vec::with_capacity(names.len());
    let mut bytes = 0;
    let mut fits = true;
    for name in names {
        let part = escaped(name);
        bytes += part.len() + 1;
        fits = bytes <= PATH_BYTES_MAX || parts.is_empty();
        if !fits {
            break;
        }
        parts.push(part);
    }
    let mut path = if whole && fits { "" } else { ELLIPSIS }.to_owned();
    for part in parts.iter().rev() {
        path.push('/');
        path.push_str(part);
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// Escapes a name for a path. Characters that would split the path or mislead a reader are written
/// as `\u{HEX}`, and a backslash is doubled. The first dot of a name that is only `.` or `..` is
/// escaped too, because other tools would follow it.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let only_dots = name == "." || name == "..";
    for (at, char) in name.chars().enumerate() {
        match char {
            '\\' => text.push_str("\\\\"),
            _ if hidden(char) || char == '/' || (only_dots && at == 0) => {
                text.extend(char.escape_unicode());
            }
            _ => text.push(char),
        }
    }
    text
}

/// Returns whether a character is invisible: control characters, and what Unicode calls "default
/// ignorable": zero-width characters, direction marks, fillers, tags, variation selectors (Unicode
/// 16, `DerivedCoreProperties.txt`). Line and paragraph separators and interlinear annotation marks
/// are equally invisible.
fn hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns the names of a path as Drive has them, the highest first, and whether they begin at the
/// drive's root. Returns `None` if the text is not a valid path.
#[must_use]
pub fn path_names(path: &str) -> Option<(Vec<String>, bool)> {
    let (rest, whole) = match path.strip_prefix(ELLIPSIS) {
        Some(rest) => (rest, false),
        None => (path, true),
    };
    let names = rest.strip_prefix('/')?;
    if names.is_empty() && whole {
        // A single file without a name would look like the root, but Drive gives every file a name.
        return Some((Vec::new(), whole));
    }
    let names: Option<Vec<String>> = names.split('/').map(unescaped).collect();
    Some((names?, whole))
}

fn unescaped(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            name.push(char);
            continue;
        }
        match chars.next()? {
            '\\' => name.push('\\'),
            'u' => {
                let rest = chars.as_str().strip_prefix('{')?;
                let (hex, after) = rest.split_once('}')?;
                name.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
                chars = after.chars();
            }
            _ => return None,
        }
    }
    Some(name)
}
