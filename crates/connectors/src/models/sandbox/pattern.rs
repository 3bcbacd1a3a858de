//! A text that matches a regular expression.

use regex_syntax::hir::{Class, Hir, HirKind};

/// One text that matches the pattern, chosen by `draw`; unbounded repetitions go `extra` times
/// beyond their minimum. None for patterns that cannot be read (look-around, back references).
pub(super) fn matching(pattern: &str, extra: u32, mut draw: impl FnMut() -> u64) -> Option<String> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut text = String::new();
    write(&hir, extra, &mut draw, &mut text)?;
    Some(text)
}

fn write(hir: &Hir, extra: u32, draw: &mut dyn FnMut() -> u64, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(one_of(class, draw())?),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX);
            for _ in 0..repetition.min.saturating_add(extra).min(most) {
                write(&repetition.sub, extra, draw, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, extra, draw, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, extra, draw, text)?;
            }
        }
        HirKind::Alternation(branches) => {
            write(pick(branches, draw())?, extra, draw, text)?;
        }
    }
    Some(())
}

/// A letter or digit if the class has any, else something printable, else its first character.
fn one_of(class: &Class, draw: u64) -> Option<char> {
    let Class::Unicode(class) = class else { return None };
    let among = |wanted: fn(&char) -> bool| {
        let has = |c: &char| class.iter().any(|range| (range.start()..=range.end()).contains(c));
        let fitting: Vec<_> = (' '..='~').filter(wanted).filter(has).collect();
        pick(&fitting, draw).copied()
    };
    among(char::is_ascii_alphanumeric)
        .or_else(|| among(|_| true))
        .or_else(|| Some(class.iter().next()?.start()))
}

pub(super) fn pick<T>(choices: &[T], draw: u64) -> Option<&T> {
    let count = u64::try_from(choices.len()).ok()?;
    choices.get(usize::try_from(draw.checked_rem(count)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_match_their_pattern() {
        let table = [
            (r"^[A-Z]{3}-\d+$", 0, "AAA-0"),
            (r"^(low|high)$", 0, "low"),
            (r"^a?b*c$", 2, "abbc"),
            (r"#[0-9a-f]{6}", 0, "#000000"),
            (r"^[^a-zA-Z0-9]$", 0, " "),
        ];
        for (pattern, extra, expected) in table {
            assert_eq!(matching(pattern, extra, || 0).as_deref(), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_beyond_reading_gives_nothing() {
        assert_eq!(matching("(?=a)", 0, || 0), None);
        assert_eq!(matching("(", 0, || 0), None);
    }
}
