//! Whether a table of a target can take the rows of a source's table: pure, so that every rule has a test.
//!
//! The rules are those of Bucardo 5 (the reference, daemon validation): a missing column or another type is
//! always a fault; `NOT NULL`, defaults, order and extra columns only under `strict_checking`.

use super::relation::{Column, Relation};

/// A difference between two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Rows cannot be copied, or only under `strict_checking = false`.
    Fault(String),
    /// Rows can be copied; somebody should know.
    Warning(String),
}

/// What keeps rows of `source` from arriving unchanged in the columns that `target` has.
#[must_use]
pub(crate) fn faults(source: &Relation, target: &Relation, key: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for column in &source.columns {
        if let Some(other) = target.column(&column.name) {
            compare_columns(column, other, key, false, &mut found);
        }
    }
    let fault = |difference| match difference {
        Difference::Fault(text) => Some(text),
        Difference::Warning(_) => None,
    };
    found.into_iter().filter_map(fault).collect()
}

/// Compares the columns of `source` with those of `target`.
#[must_use]
pub(super) fn compare(source: &Relation, target: &Relation, key: &[String], strict: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    for column in &source.columns {
        match target.column(&column.name) {
            None if column.generated => {}
            None => found.push(Difference::Fault(format!("column \"{}\" is missing", column.name))),
            Some(other) => compare_columns(column, other, key, strict, &mut found),
        }
    }
    if !strict {
        return found;
    }
    for column in &target.columns {
        if source.column(&column.name).is_none() {
            found.push(Difference::Fault(format!("column \"{}\" does not exist on the source", column.name)));
        }
    }
    let order = |of: &Relation, other: &Relation| -> Vec<String> {
        of.columns.iter().filter(|it| other.column(&it.name).is_some()).map(|it| it.name.clone()).collect()
    };
    if order(source, target) != order(target, source) {
        found.push(Difference::Fault("the columns are in another order".to_owned()));
    }
    found
}

fn compare_columns(source: &Column, target: &Column, key: &[String], strict: bool, found: &mut Vec<Difference>) {
    let name = &source.name;
    if source.type_name != target.type_name {
        let text = format!("column \"{name}\" has type {} instead of {}", target.type_name, source.type_name);
        found.push(if is_wider(&source.type_name, &target.type_name) {
            Difference::Warning(text)
        } else {
            Difference::Fault(text)
        });
    } else if let (Some(from), Some(to)) = (&source.narrow_base, &target.narrow_base)
        && rounds(from, to)
    {
        let kind = &target.type_name;
        found.push(Difference::Fault(format!("column \"{name}\" has type {kind}, which is {to} instead of {from}")));
    }
    if source.folds != target.folds && key.contains(name) {
        let says =
            if target.folds { "holds different texts for equal" } else { "does not hold different texts for equal" };
        found.push(Difference::Fault(format!("the collation of key column \"{name}\" {says}, unlike the source's")));
    }
    if target.generated && !source.generated {
        found
            .push(Difference::Warning(format!("column \"{name}\" is generated on the target and keeps its own value")));
    }
    if !strict {
        return;
    }
    if source.not_null != target.not_null {
        let has = if target.not_null { "is" } else { "is not" };
        found.push(Difference::Fault(format!("column \"{name}\" {has} NOT NULL, unlike the source")));
    }
    match (&source.default, &target.default) {
        (None, None) => {}
        (Some(_), None) => found.push(Difference::Fault(format!("column \"{name}\" has no default"))),
        (None, Some(_)) => {
            found.push(Difference::Fault(format!("column \"{name}\" has a default, the source has none")));
        }
        (Some(source), Some(target)) if bare_default(source) != bare_default(target) => {
            found.push(Difference::Fault(format!("column \"{name}\" has the default {target} instead of {source}")));
        }
        (Some(_), Some(_)) => {}
    }
}

/// Types that differ but take every value of the source's.
fn is_wider(source: &str, target: &str) -> bool {
    let text = |name: &str| matches!(name, "text" | "character varying");
    let is_time = |name: &str| digits(name).is_some_and(|(family, is_array, _)| family == "timestamp" && !is_array);
    (text(source) && text(target))
        || (is_time(source) && is_time(target) && !rounds(source, target))
        || matches!((source, target), ("smallint", "integer" | "bigint") | ("integer", "bigint"))
        || (target == "text" && source.starts_with("character varying"))
        || grows("character varying", source, target)
}

/// Whether a table of `target` takes rows of `source`, but not with the values that they have. One that is too long or too
/// large for a narrower type is refused when it is written; one with more digits than a type keeps is rounded.
#[must_use]
pub(crate) fn rounds_rows(source: &Relation, target: &Relation) -> bool {
    let narrow = |column: &Column| column.narrow_base.clone().unwrap_or_else(|| column.type_name.clone());
    let pairs = source.columns.iter().filter_map(|column| Some((column, target.column(&column.name)?)));
    pairs.into_iter().any(|(column, other)| rounds(&narrow(column), &narrow(other)))
}

/// Whether a type keeps fewer digits than one of the same family.
fn rounds(source: &str, target: &str) -> bool {
    match (digits(source), digits(target)) {
        (Some((family, is_array, from)), Some((other, is_other_array, to))) => {
            (family, is_array) == (other, is_other_array) && to < from
        }
        _ => false,
    }
}

/// Of types that round: the family, whether it is an array, and the digits that are kept, of a second or behind the point.
fn digits(name: &str) -> Option<(&str, bool, i32)> {
    let family = name.split(['(', ' ', '[']).next()?;
    let all = match family {
        "timestamp" | "time" | "interval" => 6,
        "numeric" => i32::MAX,
        _ => return None,
    };
    let modifiers = name.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let last = modifiers.and_then(|(modifiers, _)| modifiers.rsplit(',').next()?.parse().ok());
    Some((family, name.ends_with("[]"), last.unwrap_or(all)))
}

/// `name(n)` on both sides with the target's `n` no smaller, or the target unlimited.
fn grows(name: &str, source: &str, target: &str) -> bool {
    let length =
        |text: &str| -> Option<u32> { text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?.parse().ok() };
    match (length(source), length(target)) {
        (Some(source), Some(target)) => target >= source,
        (Some(_), None) => target == name,
        (None, _) => false,
    }
}

/// A default without what differs between server versions: outer parentheses and quotes around numbers.
fn bare_default(text: &str) -> String {
    let mut text = text.trim();
    while let Some(inner) = text.strip_prefix('(').and_then(|it| it.strip_suffix(')')) {
        if inner.contains(['(', ')']) {
            break;
        }
        text = inner.trim();
    }
    let number = text.split("::").next().unwrap_or(text).trim_matches('\'');
    if number.parse::<f64>().is_ok() { number.to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str)]) -> Relation {
        let columns = columns.iter().map(|(name, kind)| Column {
            name: (*name).to_owned(),
            type_name: (*kind).to_owned(),
            bare_type: (*kind).to_owned(),
            base_type: None,
            narrow_base: None,
            equals: None,
            collation: None,
            folds: false,
            not_null: false,
            default: None,
            generated: false,
        });
        Relation { kind: "r".to_owned(), columns: columns.collect(), ..Relation::default() }
    }

    fn faults(source: &Relation, target: &Relation, strict: bool) -> Vec<String> {
        let only = |it| match it {
            Difference::Fault(text) => Some(text),
            Difference::Warning(_) => None,
        };
        compare(source, target, &[], strict).into_iter().filter_map(only).collect()
    }

    #[test]
    fn a_missing_column_and_another_type_are_always_faults() {
        let source = table(&[("id", "integer"), ("note", "text"), ("mood", "mood")]);
        let target = table(&[("id", "text"), ("mood", "other.mood")]);
        assert_eq!(
            faults(&source, &target, false),
            [
                "column \"id\" has type text instead of integer",
                "column \"note\" is missing",
                "column \"mood\" has type other.mood instead of mood"
            ]
        );
    }

    #[test]
    fn wider_types_are_warnings() {
        for (source, target) in [
            ("character varying", "text"),
            ("character varying(10)", "character varying(20)"),
            ("character varying(10)", "character varying"),
            ("integer", "bigint"),
            ("timestamp with time zone", "timestamp without time zone"),
            ("timestamp(0) without time zone", "timestamp without time zone"),
            ("timestamp(0) without time zone", "timestamp(3) without time zone"),
        ] {
            let found = compare(&table(&[("a", source)]), &table(&[("a", target)]), &[], true);
            assert!(matches!(found[..], [Difference::Warning(_)]), "{source} -> {target}: {found:?}");
        }
        for (source, target) in [
            ("character varying(20)", "character varying(10)"),
            ("bigint", "integer"),
            ("timestamp without time zone", "timestamp(0) without time zone"),
            ("timestamp(3) with time zone", "timestamp(2) with time zone"),
            ("numeric(5,2)", "numeric(6,2)"),
            ("timestamp without time zone", "timestamp without time zone[]"),
            ("timestamp(0) without time zone[]", "timestamp without time zone"),
        ] {
            assert_eq!(
                faults(&table(&[("a", source)]), &table(&[("a", target)]), false).len(),
                1,
                "{source} -> {target}"
            );
        }
    }

    #[test]
    fn fewer_digits_are_rounded_and_all_else_is_kept_or_refused() {
        for (source, target) in [
            ("timestamp without time zone", "timestamp(3) without time zone"),
            ("timestamp(3) with time zone", "timestamp(0) without time zone"),
            ("time(6) without time zone", "time(0) without time zone"),
            ("interval", "interval(2)"),
            ("numeric", "numeric(10,2)"),
            ("numeric(10,2)", "numeric(12,1)"),
            ("numeric(3,0)", "numeric(3,-2)"),
            ("numeric[]", "numeric(4,0)[]"),
        ] {
            assert!(rounds(source, target), "{source} -> {target}");
            assert!(!rounds(target, source), "{target} -> {source}");
            assert!(!rounds(source, source), "{source}");
        }
        for (source, target) in [
            ("numeric(12,2)", "numeric(4,2)"),
            ("timestamp(6) without time zone", "timestamp without time zone"),
            ("text", "character varying(3)"),
            ("bigint", "integer"),
            ("public.numeric", "public.numeric(1,0)"),
        ] {
            assert!(!rounds(source, target), "{source} -> {target}");
        }
        let domain = |base: &str| {
            let mut table = table(&[("p", "price")]);
            table.columns[0].narrow_base = Some(base.to_owned());
            table
        };
        let (fine, coarse) = (domain("numeric(8,4)"), domain("numeric(8,2)"));
        assert_eq!(
            faults(&fine, &coarse, false),
            ["column \"p\" has type price, which is numeric(8,2) instead of numeric(8,4)"]
        );
        assert!(faults(&coarse, &fine, false).is_empty());
        assert!(rounds_rows(&fine, &coarse) && !rounds_rows(&coarse, &fine));
    }

    #[test]
    fn order_and_extra_columns_matter_only_when_strict() {
        let source = table(&[("a", "text"), ("b", "text")]);
        let target = table(&[("b", "text"), ("a", "text"), ("c", "text")]);
        assert!(faults(&source, &target, false).is_empty());
        assert_eq!(
            faults(&source, &target, true),
            ["column \"c\" does not exist on the source", "the columns are in another order"]
        );
    }

    #[test]
    fn defaults_of_other_server_versions_are_the_same() {
        assert_eq!(bare_default("('-1'::integer)"), bare_default("(-1)"));
        assert_eq!(bare_default("5"), bare_default("'5'::bigint"));
        assert_ne!(bare_default("nextval('a'::regclass)"), bare_default("nextval('b'::regclass)"));
    }

    #[test]
    fn keys_are_equal_in_the_same_way() {
        let key = ["id".to_owned()];
        let (plain, mut folding) =
            (table(&[("id", "text"), ("note", "text")]), table(&[("id", "text"), ("note", "text")]));
        folding.columns.iter_mut().for_each(|column| column.folds = true);
        assert_eq!(super::faults(&folding, &plain, &key).len(), 1);
        assert_eq!(super::faults(&plain, &folding, &key).len(), 1);
        assert!(super::faults(&folding, &folding, &key).is_empty());
        assert!(super::faults(&folding, &plain, &[]).is_empty());
    }
}
