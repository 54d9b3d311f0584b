//! Invisible characters that join or separate others. They stay where Unicode gives them a meaning
//! (docs/protocol.md, "Texts"), and are removed elsewhere, because they could disguise a text.

use unicode_normalization::char::canonical_combining_class;

use super::is_mark;

/// The zero width joiner and non-joiner.
const ZWJ: char = '\u{200d}';
const ZWNJ: char = '\u{200c}';
/// Variation selector 16: displays the previous character as an emoji.
const EMOJI_STYLE: char = '\u{fe0f}';
/// The black flag; tags after it spell a region.
const BLACK_FLAG: char = '\u{1f3f4}';
const TAG_END: char = '\u{e007f}';
/// Letters and digits of a region: two of the country, and one to four of the subdivision.
const TAGS: std::ops::RangeInclusive<usize> = 3..=6;
/// The canonical combining class of a virama.
const VIRAMA: u8 = 9;

/// Returns whether a character stays, given its neighbours.
pub fn may_stay(c: char) -> bool {
    matches!(c, ZWJ | ZWNJ | '\u{e0020}'..=TAG_END)
}

/// Removes joiners and tags that have no meaning in their context.
pub fn settled(text: &[char]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        at += 1;
        if !may_stay(c) {
            clean.push(c);
            if c == BLACK_FLAG {
                let tags = region(&text[at..]);
                clean.extend(&text[at..at + tags]);
                at += tags;
            }
        } else if matches!(c, ZWJ | ZWNJ) && joins(c, &clean, &text[at..]) {
            clean.push(c);
        }
    }
    clean
}

/// Returns how many tags after a flag spell a region, the cancel tag included.
fn region(behind: &[char]) -> usize {
    let letter = |c: &&char| matches!(**c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    let letters = behind.iter().take_while(letter).count();
    let is_whole = TAGS.contains(&letters) && behind.get(letters) == Some(&TAG_END);
    if is_whole { letters + 1 } else { 0 }
}

fn joins(joiner: char, before: &str, behind: &[char]) -> bool {
    let Some(last) = before.chars().next_back() else { return false };
    // It shows a consonant in another form: alone, or half.
    if canonical_combining_class(last) == VIRAMA {
        return behind.first().is_none_or(|next| !may_stay(*next));
    }
    if joiner == ZWJ && behind.first().is_some_and(|next| is_emoji(*next)) {
        let shown = before.strip_suffix(EMOJI_STYLE).unwrap_or(before).chars().next_back();
        return shown.is_some_and(|c| is_emoji(c) || c == TAG_END);
    }
    let left = before.chars().rev().find(|c| !is_mark(*c));
    let right = behind.iter().find(|c| !is_mark(**c));
    left.is_some_and(|c| is_cursive(c) && !ends_joining(c)) && right.is_some_and(|c| is_cursive(*c))
}

/// Letters of cursive scripts.
fn is_cursive(c: char) -> bool {
    matches!(c,
        '\u{620}' | '\u{622}'..='\u{63f}' | '\u{641}'..='\u{64a}' | '\u{66e}'..='\u{66f}'
        | '\u{671}'..='\u{673}' | '\u{675}'..='\u{6d3}' | '\u{6d5}' | '\u{6ee}'..='\u{6ef}'
        | '\u{6fa}'..='\u{6fc}' | '\u{6ff}' | '\u{710}' | '\u{712}'..='\u{72f}'
        | '\u{74d}'..='\u{77f}' | '\u{7ca}'..='\u{7ea}' | '\u{840}'..='\u{858}'
        | '\u{860}'..='\u{86a}' | '\u{8a0}'..='\u{8c8}' | '\u{1820}'..='\u{1878}'
        | '\u{1880}'..='\u{18aa}' | '\u{a840}'..='\u{a872}' | '\u{1e900}'..='\u{1e943}')
}

/// Arabic letters that never join the next letter, so that a joiner after them has no effect.
fn ends_joining(c: char) -> bool {
    matches!(c,
        '\u{622}'..='\u{625}' | '\u{627}' | '\u{629}' | '\u{62f}'..='\u{632}' | '\u{648}'
        | '\u{671}'..='\u{673}' | '\u{675}'..='\u{677}' | '\u{688}'..='\u{699}' | '\u{6c0}'
        | '\u{6c3}'..='\u{6cb}' | '\u{6cd}' | '\u{6cf}' | '\u{6d2}'..='\u{6d3}' | '\u{6d5}'
        | '\u{6ee}'..='\u{6ef}')
}

/// Extended_Pictographic of UTS 51, and the colours of skin.
fn is_emoji(c: char) -> bool {
    matches!(c,
        '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '\u{2194}'..='\u{2199}' | '\u{21a9}'..='\u{21aa}'
        | '\u{231a}'..='\u{231b}' | '\u{2328}' | '\u{2388}' | '\u{23cf}' | '\u{23e9}'..='\u{23f3}'
        | '\u{23f8}'..='\u{23fa}' | '\u{24c2}' | '\u{25aa}'..='\u{25ab}' | '\u{25b6}' | '\u{25c0}'
        | '\u{25fb}'..='\u{25fe}' | '\u{2600}'..='\u{2605}' | '\u{2607}'..='\u{2612}'
        | '\u{2614}'..='\u{2685}' | '\u{2690}'..='\u{2705}' | '\u{2708}'..='\u{2712}' | '\u{2714}'
        | '\u{2716}' | '\u{271d}' | '\u{2721}' | '\u{2728}' | '\u{2733}'..='\u{2734}' | '\u{2744}'
        | '\u{2747}' | '\u{274c}' | '\u{274e}' | '\u{2753}'..='\u{2755}' | '\u{2757}'
        | '\u{2763}'..='\u{2767}' | '\u{2795}'..='\u{2797}' | '\u{27a1}' | '\u{27b0}' | '\u{27bf}'
        | '\u{2934}'..='\u{2935}' | '\u{2b05}'..='\u{2b07}' | '\u{2b1b}'..='\u{2b1c}' | '\u{2b50}'
        | '\u{2b55}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1f0ff}'
        | '\u{1f10d}'..='\u{1f10f}' | '\u{1f12f}' | '\u{1f16c}'..='\u{1f171}'
        | '\u{1f17e}'..='\u{1f17f}' | '\u{1f18e}' | '\u{1f191}'..='\u{1f19a}'
        | '\u{1f1ad}'..='\u{1f1e5}' | '\u{1f201}'..='\u{1f20f}' | '\u{1f21a}' | '\u{1f22f}'
        | '\u{1f232}'..='\u{1f23a}' | '\u{1f23c}'..='\u{1f23f}' | '\u{1f249}'..='\u{1f53d}'
        | '\u{1f546}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f774}'..='\u{1f77f}'
        | '\u{1f7d5}'..='\u{1f7ff}' | '\u{1f80c}'..='\u{1f80f}' | '\u{1f848}'..='\u{1f84f}'
        | '\u{1f85a}'..='\u{1f85f}' | '\u{1f888}'..='\u{1f88f}' | '\u{1f8ae}'..='\u{1f8ff}'
        | '\u{1f90c}'..='\u{1f93a}' | '\u{1f93c}'..='\u{1f945}' | '\u{1f947}'..='\u{1faff}'
        | '\u{1fc00}'..='\u{1fffd}')
}
