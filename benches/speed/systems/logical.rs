//! PostgreSQL's own logical replication.

use crate::field::{DBNAME, Field, TABLES};

use super::System;

pub(super) struct Logical;

impl Logical {
    pub(super) fn set_up(field: &Field) -> Self {
        field.source.sql(DBNAME, &format!("CREATE PUBLICATION bench FOR TABLE {}", TABLES.join(", "))).unwrap();
        Self
    }
}

impl System for Logical {
    fn name(&self) -> &'static str {
        "logical"
    }

    fn start(&mut self, field: &Field) {
        subscribe(field, false);
    }

    fn prepare_copy(&mut self, field: &Field) {
        self.stop(field);
        field.empty_target();
    }

    fn copy(&mut self, field: &Field) {
        subscribe(field, true);
    }

    fn stop(&mut self, field: &Field) {
        field.target.sql(DBNAME, "DROP SUBSCRIPTION IF EXISTS bench").unwrap();
    }

    fn processes(&self) -> Vec<u32> {
        Vec::new()
    }
}

fn subscribe(field: &Field, copy: bool) {
    let source = field.source.conninfo(DBNAME);
    let sql = format!("CREATE SUBSCRIPTION bench CONNECTION '{source}' PUBLICATION bench WITH (copy_data = {copy})");
    field.target.sql(DBNAME, &sql).unwrap();
}
