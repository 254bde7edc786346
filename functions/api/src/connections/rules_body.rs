//! A connection's rules to and from JSON.

use domain::{FileId, Glob, InvalidRule, MimePattern, RULES_MAX, Rule, Rules};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::described::texts::{IdText, MimePatternText, NamePatternText};
use crate::http::{Kind, Problem};

/// The files of its Drive that a connection includes: those that match any `include` rule, if there
/// are such rules, and no `exclude` rule. Without rules: all files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Rules)]
pub(crate) struct RulesBody {
    /// At least one must match, if there are any. Up to 100 with those of `exclude`.
    #[schema(max_items = 100)]
    include: Vec<RuleBody>,
    /// None may match. Up to 100 with those of `include`.
    #[schema(max_items = 100)]
    exclude: Vec<RuleBody>,
}

/// A rule. A connection may have up to 100.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Rule)]
pub(crate) enum RuleBody {
    /// A folder's id: the folder and everything below it. An unknown folder matches nothing.
    #[schema(value_type = IdText)]
    Folder(String),
    /// A MIME type, or a prefix of MIME types (`image/*`): items of this type. Case does not count.
    #[schema(value_type = MimePatternText)]
    MimeType(String),
    /// A pattern for names: items with a matching name, and everything below a folder with one. `*`
    /// matches any number of characters, `?` one; a backslash escapes the next character. Case does
    /// not count.
    #[schema(value_type = NamePatternText)]
    Name(String),
}

impl From<&Rules> for RulesBody {
    fn from(rules: &Rules) -> Self {
        Self {
            include: rules.include.iter().map(RuleBody::from).collect(),
            exclude: rules.exclude.iter().map(RuleBody::from).collect(),
        }
    }
}

impl From<&Rule> for RuleBody {
    fn from(rule: &Rule) -> Self {
        match rule {
            Rule::Folder(id) => Self::Folder(id.to_string()),
            Rule::MimeType(pattern) => Self::MimeType(pattern.as_str().to_owned()),
            Rule::Name(glob) => Self::Name(glob.as_str().to_owned()),
        }
    }
}

impl RulesBody {
    /// Checks that every rule is valid and there are not too many.
    pub(crate) fn checked(&self) -> Result<Rules, Problem> {
        if self.include.len() + self.exclude.len() > RULES_MAX {
            let detail = format!("at most {RULES_MAX} rules are possible");
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/rules"));
        }
        let list = |rules: &[RuleBody], name: &str| -> Result<Vec<Rule>, Problem> {
            let each = |(number, rule): (usize, &RuleBody)| {
                let (member, read) = rule.read();
                read.map_err(|why| {
                    let pointer = format!("/rules/{name}/{number}/{member}");
                    Problem::new(Kind::ValueNotAllowed, format!("{member} {why}")).at(pointer)
                })
            };
            rules.iter().enumerate().map(each).collect()
        };
        Ok(Rules {
            include: list(&self.include, "include")?,
            exclude: list(&self.exclude, "exclude")?,
        })
    }
}

impl RuleBody {
    fn read(&self) -> (&'static str, Result<Rule, String>) {
        let why = |why: InvalidRule| why.to_string();
        match self {
            Self::Folder(id) => {
                let id = FileId::parse(id).map_err(|why| format!("is {why}"));
                ("folder", id.map(Rule::Folder))
            }
            Self::MimeType(text) => {
                let pattern = MimePattern::parse(text).map_err(why);
                ("mime_type", pattern.map(Rule::MimeType))
            }
            Self::Name(text) => ("name", Glob::parse(text).map_err(why).map(Rule::Name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::check::typed;
    use serde_json::{Value as Json, json};

    fn read(json: Json) -> Result<Rules, String> {
        let body = typed::<RulesBody>(json, "/rules");
        body.and_then(|body| body.checked()).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn rules_round_trip_through_json() {
        let json = json!({
            "include": [{"folder": "1abc"}, {"mime_type": "image/*"}],
            "exclude": [{"name": "*.tmp"}],
        });
        let rules = read(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(RulesBody::from(&rules)).unwrap(), json);
        assert_eq!(read(json!({})), Ok(Rules::default()));
    }

    #[test]
    fn the_problem_of_rules_points_at_the_invalid_member() {
        for (json, pointer) in [
            (
                json!({"include": [{"name": "a\\"}]}),
                "/rules/include/0/name",
            ),
            (
                json!({"exclude": [{"name": "a"}, {"name": ""}]}),
                "/rules/exclude/1/name",
            ),
            (
                json!({"include": [{"mime_type": "image"}]}),
                "/rules/include/0/mime_type",
            ),
            (
                json!({"include": [{"folder": "a/b"}]}),
                "/rules/include/0/folder",
            ),
            (
                json!({"include": vec![json!({"name": "a"}); 101]}),
                "/rules/include",
            ),
            (json!({"only": []}), "/rules/only"),
        ] {
            assert_eq!(read(json.clone()), Err(pointer.to_owned()), "{json}");
        }
        assert!(read(json!({"include": [{"colour": "red"}]})).is_err());
        assert!(read(json!({"include": {"name": "a"}})).is_err());
    }
}
