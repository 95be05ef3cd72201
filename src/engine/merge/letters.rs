//! What is done at a source about keys of a table that it refused.

use super::arm::Place;
use crate::engine::table::{ROWS_OUT, named_keys};
use crate::pg::{Sql, SqlFile};
use crate::source::{Relation, delta_column};

const KEEP: SqlFile = SqlFile::new(include_str!("../../../sql/merge/letters_keep.sql"));
const UNRECORD: SqlFile = SqlFile::new(include_str!("../../../sql/merge/letters_unrecord.sql"));
const LIFT: SqlFile = SqlFile::new(include_str!("../../../sql/merge/letters_lift.sql"));

/// The statements.
pub(super) struct Letters {
    pub(super) keep: String,
    /// Reads the rows of keys that were named.
    pub(super) rows: String,
    pub(super) unrecord: String,
    pub(super) lift: String,
    /// The same by the texts of keys, some of which are none for the types here.
    pub(super) lift_texts: String,
}

impl Letters {
    /// `name`: the table's; `on` joins it, as `t`, to keys in `c0`, `c1`, …, as `k`; `same` to its delta table, as `d`.
    pub(super) fn of(
        (table, sync, name): (&Place, &str, &Sql),
        relation: &Relation,
        (take, give): (&Sql, &Sql),
        (on, same, columns, only): (&Sql, &Sql, &Sql, &Sql),
    ) -> Self {
        let key = &table.goat.key;
        let named = named_keys(key, relation, |place, _| Sql::trusted(format!("c{place}")));
        let row = Sql::trusted(format!("jsonb_populate_record(NULL::{name}, w.key)"));
        let of_key = |made: &dyn Fn(usize, &Sql, &str) -> String, between: &str| {
            let made = key.iter().enumerate().map(|(at, it)| Sql::trusted(made(at, &Sql::ident(it), it)));
            Sql::join(made, between)
        };
        let texts = of_key(&|_, column, name| format!("w.key ->> {} AS {column}", Sql::literal(name)), ", ");
        let texts = Sql::trusted(format!("(SELECT {texts})"));
        let on_texts = of_key(&|at, column, _| format!("t.{column} = k.c{at}::text"), " AND ");
        let delta = |name: &str| Sql::ident(&delta_column(name));
        let same_texts = of_key(&|_, column, name| format!("t.{column} = d.{}::text", delta(name)), " AND ");
        let sync = Sql::literal(sync);
        let holes = [("take", take), ("give", give), ("delta", &table.delta)];
        let lift = |row, on, same| LIFT.fill(&[holes.as_slice(), &[("row", row), ("on", on), ("same", same)]].concat());
        Self {
            keep: KEEP.fill(&[("take", take), ("table", name), ("on", on)]),
            rows: ROWS_OUT.fill(&[("columns", columns), ("table", only), ("changed", &named), ("on", on)]),
            unrecord: UNRECORD.fill(&[("delta", &table.delta), ("table", name), ("sync", &sync), ("same", same)]),
            lift: lift(&row, on, same),
            lift_texts: lift(&texts, &on_texts, &same_texts),
        }
    }
}
