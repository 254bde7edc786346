//! Names into a path, and back.

/// The longest path, in bytes, that is shown whole; of a longer one the folders at the top are left out.
/// A hundred folders of 255 bytes are well below it. A file's own name is never cut.
pub const PATH_BYTES_MAX: usize = 64 * 1024;

/// What a path begins with where the folders above are not all known, or not all shown.
const CUT: &str = "…";

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
    let mut path = if whole && fits { "" } else { CUT }.to_owned();
    for part in parts.iter().rev() {
        path.push('/');
        path.push_str(part);
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// One name as it stands in a path. What would break the path apart or deceive the eye is written as
/// `\u{HEX}`, and a backslash twice; so is the first dot of a name that is only `.` or `..`, which other
/// tools would follow.
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

/// Control characters, and what Unicode calls "default ignorable": zero-width characters, the marks that
/// turn the direction of text, fillers, tags, variation selectors (Unicode 16,
/// `DerivedCoreProperties.txt`). The separators of lines and paragraphs, and the marks of interlinear
/// annotation, are as invisible.
fn hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The names of a path, the highest first, as Drive has them; and whether they begin at the drive's root.
/// `None` where the text is no path of ours.
#[must_use]
pub fn path_names(path: &str) -> Option<(Vec<String>, bool)> {
    let (rest, whole) = match path.strip_prefix(CUT) {
        Some(rest) => (rest, false),
        None => (path, true),
    };
    let names = rest.strip_prefix('/')?;
    if names.is_empty() && whole {
        // One file without a name looks like the root: Drive gives every file one.
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
