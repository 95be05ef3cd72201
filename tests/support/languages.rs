//! The same code in every language: one that tells what it is given, and one that sets its outputs.

use std::fmt::Write;

use bucardo::custom::{Code, Hook, Language};
use serde_json::{Map, Value, json};

use super::codes::code;

/// Languages of codes.
pub(crate) const LANGUAGES: [Language; 3] = [Language::Lua, Language::Perl, Language::Sql];

/// A code in one of the languages, with a number and a name of its own.
pub(crate) fn code_in(id: i32, language: Language, hook: Hook, source: &str) -> Code {
    let name = format!("{} {id} in {}", hook.word(), language.word());
    Code { id, name, language, ..code(hook, source) }
}

/// `input.told` is all that the code is given, as JSON: for handles the database that answers, "a function" for functions.
pub(crate) fn teller(language: Language) -> String {
    match language {
        Language::Lua => format!("{LUA_JSON}\ninput.told = json(input)"),
        Language::Perl => format!("{PERL_JSON}\n$_[0]{{told}} = $json->($_[0]);"),
        Language::Sql => {
            "SELECT jsonb_build_object('told', ($1 || jsonb_build_object('ran_on', current_database()))::text)"
                .to_owned()
        }
    }
}

/// The same, written into the diary of a database.
pub(crate) fn diarist(language: Language, db: &str) -> String {
    let insert = "INSERT INTO diary (hook, language, told) VALUES";
    match language {
        Language::Lua => {
            format!("{LUA_JSON}\ninput.dbh.{db}:run('{insert} ($1, $2, $3)', input.whenrun, 'lua', json(input))")
        }
        Language::Perl => format!(
            "{PERL_JSON}\nmy $sth = $_[0]{{dbh}}{{{db}}}->prepare('{insert} (?, ?, ?)');
             $sth->execute($_[0]{{whenrun}}, 'perl', $json->($_[0]));"
        ),
        Language::Sql => format!(
            "-- db: {db}\n{insert} ($1->>'whenrun', 'sql', ($1 || jsonb_build_object('ran_on', current_database()))::text)"
        ),
    }
}

const LUA_JSON: &str = r#"
local function text(value)
    return '"' .. value:gsub('[%c"\\]', function(letter) return ('\\u%04x'):format(letter:byte()) end) .. '"'
end
local function json(value)
    local kind = type(value)
    if kind == 'string' then return text(value) end
    if kind == 'function' then return text('a function') end
    if kind == 'userdata' then return text('handle of ' .. value:value('SELECT current_database()')) end
    if kind ~= 'table' then return tostring(value) end
    local parts = {}
    for _, it in ipairs(value) do parts[#parts + 1] = json(it) end
    if #parts > 0 then return '[' .. table.concat(parts, ',') .. ']' end
    for name, it in pairs(value) do parts[#parts + 1] = text(tostring(name)) .. ':' .. json(it) end
    return '{' .. table.concat(parts, ',') .. '}'
end"#;

const PERL_JSON: &str = r#"
my ($text, $json);
$text = sub { my $text = shift; $text =~ s/([\x00-\x1f"\\\x7f])/sprintf '\u%04x', ord $1/ge; return qq{"$text"} };
$json = sub {
    my $value = shift;
    return 'null' if !defined $value;
    my $kind = ref $value;
    return $text->($value) if !$kind;
    return $text->('a function') if $kind eq 'CODE';
    return '[' . join(',', map { $json->($_) } @$value) . ']' if $kind eq 'ARRAY';
    return '{' . join(',', map { $text->($_) . ':' . $json->($value->{$_}) } keys %$value) . '}' if $kind eq 'HASH';
    return $text->('handle of ' . $value->selectrow_array('SELECT current_database()'));
};"#;

/// What a code in a language is given, from what a statement is given. These are all the differences that there are.
pub(crate) fn seen_by(language: Language, input: &Value, database: impl Fn(&str) -> String) -> Value {
    let mut input = input.as_object().unwrap().clone();
    // Only a statement knows where it runs.
    input.remove("ran_on");
    let handle = |db: &Value| json!(format!("handle of {}", database(db.as_str().unwrap())));
    for key in ["sourcedbh", "targetdbh"] {
        if let Some(db) = input.get_mut(key) {
            *db = handle(db);
        }
    }
    if let Some(Value::Object(dbs)) = input.get_mut("dbh") {
        dbs.values_mut().for_each(|db| *db = handle(db));
    }
    // It may be called.
    input.insert("sendmail".to_owned(), json!("a function"));
    // In the words of the driver.
    if language == Language::Perl && input.contains_key("error_string") {
        let detail = input["detail"].as_str().unwrap_or_default().to_owned();
        let told = |text: &Value| {
            let text = text.as_str().unwrap();
            json!(format!("ERROR:  {}", text.replace(&format!(": {detail}"), &format!("\nDETAIL:  {detail}"))))
        };
        for key in ["error_string", "dbi_error"] {
            input[key] = told(&input[key]);
        }
        if let Some(error) = input.get_mut("rowinfo").and_then(|info| info.get_mut("dbi_error")) {
            *error = told(error);
        }
    }
    rendered(language, &Value::Object(input)).unwrap()
}

/// `None`: it is not there.
fn rendered(language: Language, value: &Value) -> Option<Value> {
    let is_lua = language == Language::Lua;
    let each = |value: &Value| rendered(language, value);
    Some(match value {
        // nil is no value of a table, and an empty list no other than an empty object.
        Value::Null if is_lua => return None,
        Value::Array(values) if is_lua && values.iter().all(Value::is_null) => json!({}),
        // A scalar in Perl is a number or a text as it is used.
        Value::Bool(flag) if !is_lua => json!(if *flag { "1" } else { "0" }),
        Value::Number(number) if !is_lua => json!(number.to_string()),
        // What joins the columns of a key is a zero byte, which the server's jsonb has not.
        Value::String(text) => json!(text.replace('\u{1f}', "\0")),
        Value::Array(values) => values.iter().filter_map(each).collect(),
        Value::Object(object) => {
            object.iter().filter_map(|(key, value)| Some((key.replace('\u{1f}', "\0"), each(value)?))).collect()
        }
        other => other.clone(),
    })
}

/// A code that sets these outputs. Objects that are given (`rows`, `rowinfo`, `conflicts`) are changed in place.
pub(crate) fn says(language: Language, outputs: &Value) -> String {
    let set = setting(language, outputs);
    if language == Language::Sql { format!("SELECT {set}") } else { set }
}

/// A code of conflicts that sets other outputs for each key.
pub(crate) fn says_of<'a>(
    language: Language,
    column: &str,
    keys: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> String {
    let each = keys.into_iter().map(|(key, outputs)| (key, setting(language, outputs)));
    match language {
        Language::Lua => each.fold(String::new(), |source, (key, set)| {
            source + &format!("if input.key.{column} == '{key}' then\n{set}end\n")
        }),
        Language::Perl => each.fold(String::new(), |source, (key, set)| {
            source + &format!("if ($_[0]{{key}}{{{column}}} eq '{key}') {{\n{set}}}\n")
        }),
        Language::Sql => {
            let cases = each.map(|(key, set)| format!("WHEN '{key}' THEN {set}\n")).collect::<String>();
            format!("SELECT CASE $1#>>'{{key,{column}}}'\n{cases}END")
        }
    }
}

/// Statements, in SQL an expression.
fn setting(language: Language, outputs: &Value) -> String {
    let mut leaves = Vec::new();
    for (key, value) in outputs.as_object().unwrap() {
        collect(&mut vec![key.clone()], value, &mut leaves);
    }
    if language == Language::Sql {
        return expression(&leaves);
    }
    leaves.iter().fold(String::new(), |mut source, (path, value)| {
        let value = literal(language, value);
        let path = path.iter().map(|key| quoted(language, key));
        let (input, path) = match language {
            Language::Lua => ("input", path.map(|key| format!("[{key}]")).collect::<String>()),
            _ => ("$_[0]", path.map(|key| format!("{{{key}}}")).collect::<String>()),
        };
        writeln!(source, "{input}{path} = {value};").unwrap();
        source
    })
}

/// Values that are set, each with the keys that lead there.
fn collect(path: &mut Vec<String>, value: &Value, leaves: &mut Vec<(Vec<String>, Value)>) {
    match value {
        Value::Object(object) if ["rows", "rowinfo", "conflicts", "shared"].contains(&path[0].as_str()) => {
            for (key, value) in object {
                path.push(key.clone());
                collect(path, value, leaves);
                path.pop();
            }
        }
        value => leaves.push((path.clone(), value.clone())),
    }
}

fn expression(leaves: &[(Vec<String>, Value)]) -> String {
    let text = |value: &str| format!("'{}'", value.replace('\'', "''").replace('\0', "\u{1f}"));
    let mut outputs: Map<String, Value> = Map::new();
    for (path, value) in leaves {
        let value = format!("{}::jsonb", text(&value.to_string().replace("\\u0000", "\\u001f")));
        let (key, path) = path.split_first().unwrap();
        let made = match (outputs.get(key).and_then(Value::as_str), path) {
            (_, []) => value,
            (before, path) => {
                let given = format!("$1->{}", text(key));
                let path = path.iter().map(|key| text(key)).collect::<Vec<_>>().join(", ");
                format!("jsonb_set({}, ARRAY[{path}], {value})", before.unwrap_or(&given))
            }
        };
        outputs.insert(key.clone(), json!(made));
    }
    let pairs = outputs.iter().map(|(key, made)| format!("{}, {}", text(key), made.as_str().unwrap()));
    format!("jsonb_build_object({})", pairs.collect::<Vec<_>>().join(", "))
}

/// A value in Lua or Perl.
fn literal(language: Language, value: &Value) -> String {
    let is_lua = language == Language::Lua;
    let list = |open: &str, parts: Vec<String>, close: &str| format!("{open}{}{close}", parts.join(", "));
    match value {
        Value::Null => if is_lua { "nil" } else { "undef" }.to_owned(),
        Value::Bool(flag) if is_lua => flag.to_string(),
        Value::Bool(flag) => if *flag { "1" } else { "''" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(language, text),
        Value::Array(values) => {
            let (open, close) = if is_lua { ("{", "}") } else { ("[", "]") };
            list(open, values.iter().map(|value| literal(language, value)).collect(), close)
        }
        Value::Object(object) => {
            let pair = |(key, value): (&String, &Value)| {
                let (key, value) = (quoted(language, key), literal(language, value));
                if is_lua { format!("[{key}] = {value}") } else { format!("{key} => {value}") }
            };
            list("{", object.iter().map(pair).collect(), "}")
        }
    }
}

fn quoted(language: Language, text: &str) -> String {
    let escaped = text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | ' ' | '.' | ':' => escaped.push(letter),
            _ if language == Language::Lua => write!(escaped, "\\u{{{:x}}}", u32::from(letter)).unwrap(),
            _ => write!(escaped, "\\x{{{:x}}}", u32::from(letter)).unwrap(),
        }
        escaped
    });
    format!("\"{escaped}\"")
}

/// A code that runs a statement on a database, which returns nothing, and sets outputs.
pub(crate) fn runs(language: Language, db: &str, sql: &str, outputs: &Value) -> String {
    let set = setting(language, outputs);
    match language {
        Language::Lua => format!("input.dbh.{db}:run({})\n{set}", quoted(language, sql)),
        Language::Perl => format!("$_[0]{{dbh}}{{{db}}}->do({});\n{set}", quoted(language, sql)),
        Language::Sql => format!("-- db: {db}\nWITH it AS ({sql}) SELECT {set}"),
    }
}
