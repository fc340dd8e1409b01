//! Relations between records, and the conversion of a lead into three records.

use serde_json::{Value, json};

use super::{
    Fields, State,
    answer::{Answer, Wrong, wrong},
    records::plain,
    vtql,
};

fn unknown() -> Wrong {
    wrong("INTERNAL_SERVER_ERROR", "Unknown Error while processing request")
}

impl State {
    /// The server reports success also for a wrong label or a missing target (06_relations_sync).
    pub(crate) fn relate(&mut self, source: &str, target: &str, label: &str) -> Answer {
        let number = |id: &str| id.split_once('x').and_then(|(_, number)| number.parse::<u64>().ok());
        let source = number(source).filter(|number| self.records.contains_key(number)).ok_or_else(unknown)?;
        let target = number(target).ok_or_else(unknown)?;
        let fits = self.records.get(&target).is_some_and(|record| record.module == label);
        if fits {
            self.relations.insert((source, target));
        }
        Ok(json!({ "message": "successfull" }))
    }

    pub(crate) fn related(&self, id: &str, module: &str) -> Answer {
        let source = self.number(id)?;
        let of = self.relations.iter().filter(|(from, _)| *from == source).map(|(_, to)| *to);
        let rows = of.filter_map(|number| {
            let record = self.records.get(&number).filter(|record| record.module == module && !record.deleted)?;
            let described = self.modules.get(record.module)?;
            let mut row = Fields::new();
            for field in described.fields.iter().filter(|field| field.name != "id") {
                row.insert(field.name.clone(), self.shown(record, field, true));
            }
            row.insert("id".into(), format!("{}x{number}", described.prefix).into());
            Some(Value::Object(row))
        });
        Ok(rows.collect())
    }

    /// The module's name ends at white space, so that no semicolon may touch it.
    pub(crate) fn query_related(&mut self, user: u64, query: &str, id: &str) -> Answer {
        let module = query.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("from")).nth(1);
        if query.trim_end().ends_with(" ;") {
            let what = "Syntax Error on line 1: token 'WHERE' Unexpected WHERE(WHERE), expected one of: ";
            return Err(wrong("QUERY_SYNTAX_ERROR", what));
        }
        let Some(module) = module.filter(|module| !module.ends_with(';')) else {
            return Err(wrong("UNKOWN_ENTITY", "Relation specified is incorrect"));
        };
        let related = self.related(id, module)?;
        let ids: Vec<String> = related.as_array().into_iter().flatten().map(|row| plain(row.get("id"))).collect();
        let Value::Array(rows) = vtql::query(self, user, &format!("{query};"))? else { return Ok(json!([])) };
        Ok(rows.into_iter().filter(|row| ids.contains(&plain(row.get("id")))).collect())
    }

    pub(crate) fn convert(&mut self, user: u64, element: &Fields) -> Answer {
        let lead = plain(element.get("leadId"));
        let number = self.number(&lead)?;
        let converted = self.records.get(&number).is_some_and(|record| record.fields.contains_key("converted"));
        if converted {
            return Err(wrong("LEAD_ALREADY_CONVERTED", "Lead is already converted"));
        }
        let owner = element.get("assignedTo").cloned().unwrap_or_default();
        let mut made = Fields::new();
        for module in ["Accounts", "Contacts", "Potentials"] {
            let entity = element.get("entities").and_then(|entities| entities.get(module));
            let Some(Value::Object(entity)) = entity.cloned() else { continue };
            let mut fields = entity;
            fields.insert("assigned_user_id".into(), owner.clone());
            let record = self.create(user, module, fields)?;
            made.insert(module.to_owned(), record.get("id").cloned().unwrap_or_default());
        }
        if let Some(record) = self.records.get_mut(&number) {
            record.fields.insert("converted".into(), true.into());
        }
        Ok(Value::Object(made))
    }
}
