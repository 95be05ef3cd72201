//! Perl codes: subroutines of Bucardo 3, 4 and 5, run as they are by a child process. It knows no database; what a code
//! asks of a handle comes here as a line, and is answered.

mod child;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use super::host::Runner;
use super::statement::numbered;
use super::{Code, CodeError, Column, Databases, Found, MAILS_MAX, OUTPUT_BYTES_MAX, Refused, Statement, TOO_MUCH};
use child::{Lost, PerlChild};

const PROGRAM: &str = "perl";
/// Where a code is that takes too long before it runs.
const COMPILING: &str = "what runs while it compiles (BEGIN, use)";
/// Inputs go in batches of about so many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// A line of the child.
#[derive(Debug, Deserialize)]
struct Line {
    /// The number of what it was asked.
    of: u64,
    said: Said,
}

/// What the child says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// The code has compiled.
    Compiled,
    /// It does not compile.
    Broken(String),
    /// It has run.
    Outputs(Vec<Value>),
    /// It died, at this input of the call.
    Died(usize, String),
    /// What it left behind cannot be sent.
    Garbage(String),
    /// It was stopped, there.
    Stopped(String),
    /// It asks a database, and waits.
    Ask {
        number: u64,
        db: String,
        sql: String,
        values: Values,
        /// Not zero: values stand as `$1`, and nothing else does.
        dollars: u8,
    },
}

/// The values of a statement, by place or by name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    Listed(Vec<Option<String>>),
    Named(BTreeMap<String, Option<String>>),
}

/// Runs codes in Perl.
pub(super) struct PerlHost {
    program: String,
    sync: Option<String>,
    child: Option<PerlChild>,
    /// What the child was started with.
    memory_mb: u32,
    /// What it has compiled, by the numbers of the codes.
    compiled: BTreeMap<i32, Code>,
    /// What was asked last.
    number: u64,
    /// The input that the last call was at.
    at: Option<usize>,
}

impl Default for PerlHost {
    fn default() -> Self {
        Self {
            program: PROGRAM.to_owned(),
            sync: None,
            child: None,
            memory_mb: 0,
            compiled: BTreeMap::new(),
            number: 0,
            at: None,
        }
    }
}

impl PerlHost {
    /// Compiles a code; returns the child that can run it, taken out: whatever goes wrong, it is killed.
    async fn ready(&mut self, code: &Code) -> Result<PerlChild, CodeError> {
        let memory_mb = code.limits.memory_mb;
        let mut child = match self.child.take().filter(|_| self.memory_mb == memory_mb) {
            Some(child) => child,
            None => {
                self.compiled.clear();
                self.memory_mb = memory_mb;
                PerlChild::start(&self.program, memory_mb).await.map_err(|error| self.missing(code, &error))?
            }
        };
        child.runs(code, self.sync.as_deref());
        if self.compiled.get(&code.id) == Some(code) {
            return Ok(child);
        }
        self.number += 1;
        let compile = json!({"id": code.id, "name": code.name, "source": code.source});
        let asked = json!({"number": self.number, "compile": compile});
        child.send(asked.to_string().into_bytes()).await.map_err(|lost| lost_child(code, lost))?;
        match hear(&mut child, code, self.number).await.map_err(|ended| ended.error(code))?.0 {
            Said::Compiled => {
                self.compiled.insert(code.id, code.clone());
                Ok(child)
            }
            Said::Broken(why) => {
                self.child = Some(child);
                Err(CodeError::Compile { code: code.name.clone(), why })
            }
            other => Err(unexpected(code, &other)),
        }
    }

    fn missing(&self, code: &Code, error: &std::io::Error) -> CodeError {
        let program = &self.program;
        let why = if error.kind() == std::io::ErrorKind::NotFound {
            format!(
                "there is no program \"{program}\" in the PATH: install Perl, or write the code in Lua (language=lua)"
            )
        } else {
            format!("cannot start \"{program}\": {error}")
        };
        CodeError::NoHost { code: code.name.clone(), why }
    }
}

impl Runner for PerlHost {
    fn serves(&mut self, sync: &str) {
        self.sync = Some(sync.to_owned());
    }

    async fn check(&mut self, code: &Code) -> Result<(), CodeError> {
        match tokio::time::timeout(code.limits.timeout, self.ready(code)).await {
            Ok(ready) => {
                self.child = Some(ready?);
                Ok(())
            }
            Err(_) => Err(code.limits.late(&code.name, Some(COMPILING))),
        }
    }

    fn reached(&self) -> Option<usize> {
        self.at
    }

    async fn run(
        &mut self,
        code: &Code,
        common: &Map<String, Value>,
        inputs: Vec<Value>,
        dbs: &mut dyn Databases,
    ) -> Result<Vec<Value>, CodeError> {
        self.at = None;
        let until = Instant::now() + code.limits.timeout;
        let Ok(ready) = timeout_at(until, self.ready(code)).await else {
            return Err(code.limits.late(&code.name, Some(COMPILING)));
        };
        let mut child = ready?;
        match timeout_at(until, talk(&mut child, code, &mut self.number, (common, inputs), dbs, &mut self.at)).await {
            Ok(Ok(outputs)) => {
                self.child = Some(child);
                Ok(outputs)
            }
            Ok(Err(ended)) => {
                // It waits for the next call; all else is gone wrong in a way that nobody knows.
                if matches!(ended, Ended::Failed(CodeError::Died { .. })) {
                    self.child = Some(child);
                }
                Err(ended.error(code))
            }
            Err(_) => {
                let place = child.stop().await.and_then(|line| match serde_json::from_slice(&line) {
                    Ok(Line { said: Said::Stopped(place), .. }) => Some(place),
                    _ => None,
                });
                Err(code.limits.late(&code.name, place.as_deref()))
            }
        }
    }
}

fn lost_child(code: &Code, lost: Lost) -> CodeError {
    lost_at(code, lost, None)
}

/// The same; `place`: where the code was.
fn lost_at(code: &Code, lost: Lost, place: Option<&str>) -> CodeError {
    let name = code.name.clone();
    match lost {
        Lost::Ended(how) => {
            let place = place.map_or_else(String::new, |place| format!("; it was at {place}"));
            CodeError::Died { code: name, why: format!("its process ended: {how}{place}") }
        }
        Lost::Memory => code.limits.full(&name, place),
        Lost::Flood(why) => CodeError::Stopped { code: name, why: why.to_owned() },
    }
}

/// Why a call ended early.
enum Ended {
    Lost(Lost),
    Failed(CodeError),
}

impl Ended {
    fn error(self, code: &Code) -> CodeError {
        match self {
            Self::Lost(lost) => lost_child(code, lost),
            Self::Failed(error) => error,
        }
    }
}

impl From<Lost> for Ended {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// Sends the inputs, batch by batch, and answers what the code asks meanwhile.
async fn talk(
    child: &mut PerlChild,
    code: &Code,
    number: &mut u64,
    (common, inputs): (&Map<String, Value>, Vec<Value>),
    dbs: &mut dyn Databases,
    reached: &mut Option<usize>,
) -> Result<Vec<Value>, Ended> {
    let names = if code.getdbh { json!(dbs.names()) } else { Value::Null };
    let unwritten = |error: serde_json::Error| Ended::Failed(garbage(code, &error.to_string()));
    let common = serde_json::to_string(common).map_err(unwritten)?;
    let mut outputs = Vec::with_capacity(inputs.len());
    let mut room = OUTPUT_BYTES_MAX;
    let mut inputs = inputs.into_iter().peekable();
    while inputs.peek().is_some() {
        *number += 1;
        let id = code.id;
        let call = format!(
            "{{\"number\":{number},\"call\":{{\"id\":{id},\"mails_max\":{MAILS_MAX},\"names\":{names},\"common\":{common},\"inputs\":["
        );
        let mut line = call.into_bytes();
        let (mut sent, enough) = (0, line.len() + BATCH_BYTES);
        while line.len() < enough
            && let Some(input) = inputs.next()
        {
            if sent > 0 {
                line.push(b',');
            }
            sent += 1;
            serde_json::to_writer(&mut line, &input).map_err(unwritten)?;
        }
        line.extend_from_slice(b"]}}");
        child.send(line).await?;
        let found = answers(child, code, *number, dbs, reached).await;
        *reached = reached.map(|at| at + outputs.len());
        let (found, bytes) = found?;
        room = room.checked_sub(bytes).ok_or(Lost::Flood(TOO_MUCH))?;
        if found.len() != sent || !found.iter().all(Value::is_object) {
            return Err(Ended::Failed(garbage(code, "it is not one object for each input")));
        }
        outputs.extend(found);
    }
    Ok(outputs)
}

/// Answers what the code asks; returns what it leaves in the end, and the bytes of that.
async fn answers(
    child: &mut PerlChild,
    code: &Code,
    number: u64,
    dbs: &mut dyn Databases,
    reached: &mut Option<usize>,
) -> Result<(Vec<Value>, usize), Ended> {
    loop {
        let (said, bytes) = hear(child, code, number).await?;
        match said {
            Said::Outputs(outputs) => return Ok((outputs, bytes)),
            Said::Died(at, why) => {
                *reached = Some(at);
                return Err(Ended::Failed(CodeError::Died { code: code.name.clone(), why }));
            }
            Said::Garbage(why) => return Err(Ended::Failed(garbage(code, &why))),
            // Perl itself has ended it.
            Said::Stopped(place) => {
                return Err(match child.receive().await {
                    Err(lost) => Ended::Failed(lost_at(code, lost, Some(&place))),
                    Ok(_) => Ended::Failed(garbage(code, "it has ended, and speaks on")),
                });
            }
            Said::Ask { number, db, sql, values, dollars } => {
                let answered = match statement(&sql, values, dollars != 0) {
                    Ok(statement) => dbs.run(&db, statement).await,
                    Err(refused) => Err(refused),
                };
                let line = match answered {
                    Ok(found) => told(number, &found),
                    Err(Refused { message, sqlstate, full }) => {
                        json!({"to": number, "refused": {"message": message, "sqlstate": sqlstate, "full": full}})
                    }
                };
                child.send(line.to_string().into_bytes()).await?;
            }
            other => return Err(Ended::Failed(unexpected(code, &other))),
        }
    }
}

fn statement(sql: &str, values: Values, dollars: bool) -> Result<Statement, Refused> {
    match values {
        Values::Listed(values) if dollars => Ok(Statement { sql: sql.to_owned(), values }),
        Values::Listed(values) => numbered(sql, values, &BTreeMap::new()),
        Values::Named(named) => numbered(sql, Vec::new(), &named),
    }
}

fn told(number: u64, found: &Found) -> Value {
    let column = |column: &Column| json!({"name": column.name, "kind": column.kind});
    let columns: Vec<Value> = found.columns.iter().map(column).collect();
    json!({"to": number, "found": {"columns": columns, "rows": found.rows, "count": found.count}})
}

/// What it says about this number, and the bytes of that. Of an earlier one nobody wants to hear any more.
async fn hear(child: &mut PerlChild, code: &Code, number: u64) -> Result<(Said, usize), Ended> {
    loop {
        let line = child.receive().await?;
        let bytes = line.len();
        let line = serde_json::from_slice::<Line>(&line);
        let Line { of, said } = line.map_err(|error| Ended::Failed(garbage(code, &error.to_string())))?;
        if of >= number {
            return if of == number { Ok((said, bytes)) } else { Err(Ended::Failed(unexpected(code, &said))) };
        }
    }
}

fn garbage(code: &Code, why: &str) -> CodeError {
    CodeError::Garbage { code: code.name.clone(), why: why.to_owned() }
}

fn unexpected(code: &Code, said: &Said) -> CodeError {
    garbage(code, &format!("an answer that was not asked for: {said:?}"))
}
