//! Actions of a manager or a workflow in Vtiger's pages. They send no webhook.

use serde_json::{Value, json};

use super::{Fields, State, VtigerSandbox, modules::Field, records::plain};

fn number(id: &str) -> Option<u64> {
    id.split_once('x').and_then(|(_, number)| number.parse().ok())
}

impl State {
    /// A workflow moves a deal that comes to its stage. It acts as the administrator.
    pub(super) fn run_workflows(&mut self, number: u64) {
        let Some(record) = self.records.get_mut(&number).filter(|record| record.module == "Potentials") else { return };
        let stage = plain(record.fields.get("sales_stage"));
        if let Some((_, to)) = self.workflows.iter().find(|(from, _)| *from == stage) {
            record.fields.insert("sales_stage".into(), to.as_str().into());
            record.fields.insert("modifiedby".into(), "19x1".into());
        }
    }

    fn stage_values(&mut self) -> Option<&mut Vec<Value>> {
        let described = &mut self.modules.get_mut("Potentials")?.described;
        let fields = described.get_mut("fields")?.as_array_mut()?;
        let stage = fields.iter_mut().find(|field| field.get("name").and_then(Value::as_str) == Some("sales_stage"))?;
        stage.pointer_mut("/type/picklistValues")?.as_array_mut()
    }

    /// Gives the deals of a stage another stage. Their time of change stays, as in Vtiger.
    fn restage(&mut self, from: &str, to: &str) {
        for record in self.records.values_mut().filter(|record| record.module == "Potentials") {
            if plain(record.fields.get("sales_stage")) == from {
                record.fields.insert("sales_stage".into(), to.into());
            }
        }
    }
}

impl VtigerSandbox {
    /// A manager changes a record.
    pub fn by_manager(&self, user: u64, id: &str, changes: &[(&str, &str)]) {
        let fields = changes.iter().map(|(field, value)| ((*field).to_owned(), Value::from(*value))).collect();
        self.changed_by_manager(user, id, fields);
    }

    pub(super) fn changed_by_manager(&self, user: u64, id: &str, fields: Fields) -> bool {
        let mut state = self.state();
        // The pages use the manager's own rights, not those of the webservice.
        if state.revise(1, id, fields).is_err() {
            return false;
        }
        if let Some(record) = number(id).and_then(|number| state.records.get_mut(&number)) {
            record.fields.insert("modifiedby".into(), format!("19x{user}").into());
        }
        true
    }

    /// A manager adds a record. Returns its id.
    pub fn added_by_manager(&self, user: u64, module: &str, fields: &[(&str, &str)]) -> Option<String> {
        let mut all: Fields = fields.iter().map(|(field, value)| ((*field).to_owned(), Value::from(*value))).collect();
        all.entry("assigned_user_id").or_insert_with(|| format!("19x{user}").into());
        let made = self.state().create(user, module, all).ok()?;
        made.get("id").and_then(Value::as_str).map(str::to_owned)
    }

    /// Copies a record with all its fields, including the hub's own. Returns the copy's id.
    pub fn copied_by_manager(&self, user: u64, id: &str) -> Option<String> {
        let mut state = self.state();
        let record = state.records.get(&number(id)?).filter(|record| !record.deleted)?;
        let (module, fields) = (record.module.to_owned(), record.fields.clone());
        let made = state.create(user, &module, fields).ok()?;
        made.get("id").and_then(Value::as_str).map(str::to_owned)
    }

    /// Moves a record into the recycle bin. From then on it cannot be told from a record that never existed.
    pub fn deleted_by_manager(&self, id: &str) {
        let mut state = self.state();
        if let Some(record) = number(id).and_then(|number| state.records.get_mut(&number)) {
            record.deleted = true;
        }
    }

    /// Restores a record from the recycle bin as it was. With `submissions` the time of change is now and the manager
    /// made it, as in 8.4. Earlier versions and coreBOS write neither.
    pub fn restored_by_manager(&self, user: u64, id: &str, submissions: bool) {
        let mut state = self.state();
        let now = state.written_at();
        let Some(record) = number(id).and_then(|number| state.records.get_mut(&number)) else { return };
        record.deleted = false;
        if submissions {
            record.fields.insert("modifiedtime".into(), now.into());
            record.fields.insert("modifiedby".into(), format!("19x{user}").into());
        }
    }

    /// Sets a record's time of change, such as an import or a wrong clock leaves behind.
    pub fn set_modified(&self, id: &str, text: &str) {
        let mut state = self.state();
        if let Some(record) = number(id).and_then(|number| state.records.get_mut(&number)) {
            record.fields.insert("modifiedtime".into(), text.into());
        }
    }

    /// Sets the time zone in which the server writes times, in seconds east of UTC.
    pub fn set_zone(&self, seconds: i64) {
        self.state().zone = seconds;
    }

    /// Hides one record from the hub's user, as after a change of its owner.
    pub fn hide(&self, id: &str) {
        self.state().hidden_records.extend(number(id));
    }

    /// Merges two records: `kept` gets the links to `gone`, and its values for empty fields.
    pub fn merged_by_manager(&self, user: u64, gone: &str, kept: &str) -> bool {
        let mut state = self.state();
        let (Some(old), Some(new)) = (number(gone).filter(|_| gone != kept), number(kept)) else { return false };
        let there = |number: u64| state.records.get(&number).filter(|record| !record.deleted);
        let (Some(from), Some(to)) = (there(old), there(new)) else { return false };
        if from.module != to.module {
            return false;
        }
        let more = from.fields.clone();
        let now = state.written_at();
        if let Some(record) = state.records.get_mut(&new) {
            for (field, value) in more {
                if plain(record.fields.get(&field)).is_empty() {
                    record.fields.insert(field, value);
                }
            }
            record.fields.insert("modifiedtime".into(), now.into());
            record.fields.insert("modifiedby".into(), format!("19x{user}").into());
        }
        if let Some(record) = state.records.get_mut(&old) {
            record.deleted = true;
        }
        for record in state.records.values_mut() {
            for value in record.fields.values_mut().filter(|value| value.as_str() == Some(gone)) {
                *value = kept.into();
            }
        }
        let moved: Vec<(u64, u64)> = state.relations.iter().filter(|(from, _)| *from == old).copied().collect();
        state.relations.extend(moved.into_iter().map(|(_, to)| (new, to)));
        true
    }

    /// Renames a value of the picklist "Sales Stage". Deals with it follow.
    pub fn rename_stage(&self, stage: &str, to: &str) -> bool {
        let mut state = self.state();
        let found = state
            .stage_values()
            .and_then(|all| all.iter_mut().find(|value| value.get("value").and_then(Value::as_str) == Some(stage)));
        let Some(value) = found else { return false };
        *value = json!({ "label": to, "value": to });
        state.restage(stage, to);
        true
    }

    /// Adds a value to the end of the picklist "Sales Stage".
    pub fn add_stage(&self, stage: &str) {
        let mut state = self.state();
        state.stage_values().into_iter().for_each(|all| all.push(json!({ "label": stage, "value": stage })));
    }

    /// Deletes a value of the picklist "Sales Stage". Its deals get another, as Vtiger demands.
    pub fn delete_stage(&self, stage: &str, instead: &str) -> bool {
        let mut state = self.state();
        let Some(all) = state.stage_values() else { return false };
        let before = all.len();
        all.retain(|value| value.get("value").and_then(Value::as_str) != Some(stage));
        let gone = all.len() < before;
        state.restage(stage, instead);
        gone
    }

    /// Sets the workflows: each moves a deal that comes to its first stage to the second.
    pub fn set_workflows(&self, all: Vec<(String, String)>) {
        self.state().workflows = all;
    }

    /// Deletes a field, as an administrator does in the layout editor.
    pub fn delete_field(&self, module: &str, field: &str) {
        let mut state = self.state();
        if let Some(module) = state.modules.get_mut(module) {
            module.fields.retain(|known: &Field| known.name != field);
            if let Some(fields) = module.described.get_mut("fields").and_then(Value::as_array_mut) {
                fields.retain(|known| known.get("name").and_then(Value::as_str) != Some(field));
            }
        }
    }
}
