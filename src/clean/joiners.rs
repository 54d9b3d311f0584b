//! Invisible characters that join, separate or select others. They stay where Unicode gives them a
//! meaning (docs/protocol.md, "Texts"), and are removed elsewhere, because they could disguise a
//! text.

use unicode_normalization::char::canonical_combining_class;

use super::emoji::is_emoji;
use super::selectors::{is_selector, selects};
use super::separators::{ZERO_WIDTH_SPACE, separates};
use super::shape::is_mark;

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
/// A script of India has its letters and its virama in one block of 128 code points.
const BLOCK_BITS: u32 = 7;

/// Returns whether a character stays, given its neighbours.
pub fn may_stay(c: char) -> bool {
    matches!(c, ZERO_WIDTH_SPACE | ZWJ | ZWNJ | '\u{e0020}'..=TAG_END) || is_selector(c)
}

/// Removes joiners, zero width spaces, selectors and tags that have no meaning in their context.
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
        } else if is_selector(c) {
            if selects(c, clean.chars().next_back(), text.get(at).copied()) {
                clean.push(c);
            }
        } else if c == ZERO_WIDTH_SPACE {
            if separates(clean.chars().next_back(), text.get(at).copied()) {
                clean.push(c);
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
    let next = behind.first().copied();
    // Of several in a row the last one counts.
    if next.is_some_and(may_stay) {
        return false;
    }
    if joiner == ZWJ && next.is_some_and(is_emoji) {
        let shown = before.strip_suffix(EMOJI_STYLE).unwrap_or(before).chars().next_back();
        return shown.is_some_and(|c| is_emoji(c) || c == TAG_END);
    }
    let left = before.chars().rev().find(|c| !is_mark(*c));
    let right = behind.iter().copied().find(|c| !is_mark(*c));
    let is_cursive = left.is_some_and(joins_next) && right.is_some_and(joins_previous);
    is_cursive || left.is_some_and(|left| shapes(joiner, left, before, next))
}

/// Returns whether a joiner shows a consonant in another form: alone, or half.
fn shapes(joiner: char, consonant: char, before: &str, next: Option<char>) -> bool {
    let class = |c: &char| canonical_combining_class(*c);
    let marks = before.chars().rev().map(|c| class(&c)).take_while(|class| *class != 0);
    if !consonant.is_alphabetic() {
        return false;
    }
    if marks.into_iter().any(|class| class == VIRAMA) {
        // A vowel sign belongs to the consonant in any form.
        return next.is_none_or(|next| !is_mark(next) || class(&next) != 0);
    }
    let virama = next.filter(|next| joiner == ZWJ && class(next) == VIRAMA);
    virama.is_some_and(|virama| consonant as u32 >> BLOCK_BITS == virama as u32 >> BLOCK_BITS)
}

/// Letters that are joined to the next one: Joining_Type L and D of Unicode 14.
fn joins_next(c: char) -> bool {
    matches!(c,
        '\u{620}' | '\u{626}' | '\u{628}' | '\u{62a}'..='\u{62e}' | '\u{633}'..='\u{63f}'
        | '\u{641}'..='\u{647}' | '\u{649}'..='\u{64a}' | '\u{66e}'..='\u{66f}'
        | '\u{678}'..='\u{687}' | '\u{69a}'..='\u{6bf}' | '\u{6c1}'..='\u{6c2}' | '\u{6cc}'
        | '\u{6ce}' | '\u{6d0}'..='\u{6d1}' | '\u{6fa}'..='\u{6fc}' | '\u{6ff}'
        | '\u{712}'..='\u{714}' | '\u{71a}'..='\u{71d}' | '\u{71f}'..='\u{727}' | '\u{729}'
        | '\u{72b}' | '\u{72d}'..='\u{72e}' | '\u{74e}'..='\u{758}' | '\u{75c}'..='\u{76a}'
        | '\u{76d}'..='\u{770}' | '\u{772}' | '\u{775}'..='\u{777}' | '\u{77a}'..='\u{77f}'
        | '\u{7ca}'..='\u{7ea}' | '\u{841}'..='\u{845}' | '\u{848}' | '\u{84a}'..='\u{853}'
        | '\u{855}' | '\u{860}' | '\u{862}'..='\u{865}' | '\u{868}' | '\u{886}'
        | '\u{889}'..='\u{88d}' | '\u{8a0}'..='\u{8a9}' | '\u{8af}'..='\u{8b0}'
        | '\u{8b3}'..='\u{8b8}' | '\u{8ba}'..='\u{8c8}' | '\u{1807}' | '\u{1820}'..='\u{1878}'
        | '\u{1887}'..='\u{18a8}' | '\u{18aa}' | '\u{a840}'..='\u{a872}'
        | '\u{10ac0}'..='\u{10ac4}' | '\u{10acd}' | '\u{10ad3}'..='\u{10adc}'
        | '\u{10ade}'..='\u{10ae0}' | '\u{10aeb}'..='\u{10aee}' | '\u{10b80}' | '\u{10b82}'
        | '\u{10b86}'..='\u{10b88}' | '\u{10b8a}'..='\u{10b8b}' | '\u{10b8d}' | '\u{10b90}'
        | '\u{10bad}'..='\u{10bae}' | '\u{10d00}'..='\u{10d21}' | '\u{10d23}'
        | '\u{10f30}'..='\u{10f32}' | '\u{10f34}'..='\u{10f44}' | '\u{10f51}'..='\u{10f53}'
        | '\u{10f70}'..='\u{10f73}' | '\u{10f76}'..='\u{10f81}' | '\u{10fb0}'
        | '\u{10fb2}'..='\u{10fb3}' | '\u{10fb8}' | '\u{10fbb}'..='\u{10fbc}'
        | '\u{10fbe}'..='\u{10fbf}' | '\u{10fc1}' | '\u{10fc4}' | '\u{10fca}'..='\u{10fcb}'
        | '\u{1e900}'..='\u{1e943}')
}

/// Letters that are joined to the previous one: Joining_Type R and D of Unicode 14.
fn joins_previous(c: char) -> bool {
    matches!(c,
        '\u{620}' | '\u{622}'..='\u{63f}' | '\u{641}'..='\u{64a}' | '\u{66e}'..='\u{66f}'
        | '\u{671}'..='\u{673}' | '\u{675}'..='\u{6d3}' | '\u{6d5}' | '\u{6ee}'..='\u{6ef}'
        | '\u{6fa}'..='\u{6fc}' | '\u{6ff}' | '\u{710}' | '\u{712}'..='\u{72f}'
        | '\u{74d}'..='\u{77f}' | '\u{7ca}'..='\u{7ea}' | '\u{840}'..='\u{858}' | '\u{860}'
        | '\u{862}'..='\u{865}' | '\u{867}'..='\u{86a}' | '\u{870}'..='\u{882}' | '\u{886}'
        | '\u{889}'..='\u{88e}' | '\u{8a0}'..='\u{8ac}' | '\u{8ae}'..='\u{8c8}' | '\u{1807}'
        | '\u{1820}'..='\u{1878}' | '\u{1887}'..='\u{18a8}' | '\u{18aa}' | '\u{a840}'..='\u{a871}'
        | '\u{10ac0}'..='\u{10ac5}' | '\u{10ac7}' | '\u{10ac9}'..='\u{10aca}'
        | '\u{10ace}'..='\u{10ad6}' | '\u{10ad8}'..='\u{10ae1}' | '\u{10ae4}'
        | '\u{10aeb}'..='\u{10aef}' | '\u{10b80}'..='\u{10b91}' | '\u{10ba9}'..='\u{10bae}'
        | '\u{10d01}'..='\u{10d23}' | '\u{10f30}'..='\u{10f44}' | '\u{10f51}'..='\u{10f54}'
        | '\u{10f70}'..='\u{10f81}' | '\u{10fb0}' | '\u{10fb2}'..='\u{10fb6}'
        | '\u{10fb8}'..='\u{10fbf}' | '\u{10fc1}'..='\u{10fc4}' | '\u{10fc9}'..='\u{10fca}'
        | '\u{1e900}'..='\u{1e943}')
}
