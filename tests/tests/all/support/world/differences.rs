//! The differences between Drive and what is known of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Outside;

impl Outside {
    /// Returns the differences between the sides that no open conflict explains. Without any, they
    /// have converged.
    pub async fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut ours = self.files().await;
        let open = self.get("/conflicts?limit=1000").await;
        let open = open["items"].as_array().unwrap();
        for id in self.simulator.file_ids() {
            let Some(theirs) = self.simulator.file(&id) else {
                continue;
            };
            let Some(ours) = ours.remove(&id) else {
                wrong.push(format!("{id} ({}) has not arrived", theirs.name));
                continue;
            };
            if ours["intent"]["status"] == "owed" {
                wrong.push(format!("{id}: owed: {}", ours["intent"]));
            }
            let theirs = json!({
                "name": theirs.name, "description": theirs.description,
                "starred": theirs.starred_by.iter().any(|user| user.starts_with("owner")),
                "trashed": theirs.explicitly_trashed, "parent": theirs.parent,
                "properties": theirs.properties,
            });
            for (field, drive) in flat(&theirs, &ours["fields"]) {
                let held = open
                    .iter()
                    .find(|c| c["file_id"] == *id && c["field"] == *field);
                let app = value_at(&ours["fields"], &field);
                let fits = match held {
                    None => app == drive,
                    Some(conflict) => conflict["app"] == app && conflict["drive"] == drive,
                };
                if !fits {
                    wrong.push(format!(
                        "{id} {field}: Drive has {drive}, we {app}, {held:?}"
                    ));
                }
            }
        }
        wrong.extend(ours.keys().map(|id| format!("{id} is gone from Drive")));
        wrong
    }
}

/// Returns the fields of both sides, with Drive's values.
fn flat(theirs: &Value, ours: &Value) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for (name, value) in theirs.as_object().unwrap() {
        if name != "properties" {
            fields.insert(name.clone(), value.clone());
        }
    }
    let keys = |side: &Value| {
        let keys = side["properties"].as_object().into_iter().flatten();
        keys.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    for key in keys(theirs).into_iter().chain(keys(ours)) {
        fields.insert(
            format!("properties.{key}"),
            theirs["properties"][&key].clone(),
        );
    }
    fields
}

fn value_at(fields: &Value, label: &str) -> Value {
    match label.strip_prefix("properties.") {
        Some(key) => fields["properties"][key].clone(),
        None => fields[label].clone(),
    }
}
