//! Values of the type `json` that name a key twice: `jsonb` would keep the last of them only.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Whether any object in `text` has a key twice. What is no JSON has none.
pub(super) fn has_twins(text: &str) -> bool {
    // The columns of a row have names of their own: only what is within them can have twins.
    if text.trim_start().get(1..).is_none_or(|within| !within.contains('{')) {
        return false;
    }
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Twins).unwrap_or(false)
}

/// Finds out whether there are any.
struct Twins;

impl<'de> DeserializeSeed<'de> for Twins {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Twins {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let (mut keys, mut found) = (HashSet::new(), false);
        while let Some(key) = map.next_key::<String>()? {
            found |= !keys.insert(key);
            found |= map.next_value_seed(Self)?;
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(item) = items.next_element_seed(Self)? {
            found |= item;
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_found_wherever_it_is() {
        for (text, wanted) in [
            (r#"{"id":1,"j":{"a":1,"a":2}}"#, true),
            (r#"{"id":1,"j":[{"b":null},{"a":"x","c":{"d":1.5,"d":true}}]}"#, true),
            (r#"{"id":1,"j":{"a":{"a":1},"b":[{"a":1},{"a":2}]}}"#, false),
            (r#"{"id":1,"text":"{{"}"#, false),
            (r#"{"id":1}"#, false),
            ("not { json", false),
        ] {
            assert_eq!(has_twins(text), wanted, "{text}");
        }
    }
}
