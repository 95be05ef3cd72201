//! `bucardo install`: role, database and schema of the control database.

use std::io::Read;
use std::path::Path;

use super::pgpass::{self, Entry};
use super::{CliError, Context, Outcome};
use crate::catalog::migrate::{self, LEVEL_NEEDED, State};
use crate::catalog::settings;
use crate::pg::{Access, ConnectError, Connection, Sql, SqlFile, connect};

const ROLE_FACTS: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_role.sql"));
const CREATE_ROLE: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_create_role.sql"));
const CREATE_DATABASE: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_create_database.sql"));
const SEARCH_PATH: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_search_path.sql"));
const CREATE_SCHEMA: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_create_schema.sql"));
const SET_ROLE: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_set_role.sql"));
const PASSWORD: SqlFile = SqlFile::new(include_str!("../../sql/catalog/install_password.sql"));

const DEFAULT_NAME: &str = "bucardo";
const DEFAULT_PIDDIR: &str = "/var/run/bucardo";
const PASSWORD_LENGTH: usize = 42;

/// What will be done, as the menu shows it.
#[derive(Clone, Debug)]
struct Plan {
    access: Access,
    /// The user was named, so no other is tried but where it does not exist.
    user_named: bool,
    piddir: String,
    /// The PID directory was named, so that an upgrade sets it too.
    piddir_named: bool,
}

/// Runs `install`.
pub(super) async fn run(ctx: &Context) -> Outcome {
    let mut plan = Plan::new(ctx)?;
    if !ctx.options.batch && !menu(ctx, &mut plan)? {
        ctx.out.always("Goodbye!");
        return Ok(0);
    }
    ctx.out.say("Attempting to create and populate the bucardo database and schema");
    Box::pin(install(ctx, &plan)).await?;
    ctx.out.say("Installation is now complete.");
    Ok(0)
}

impl Plan {
    fn new(ctx: &Context) -> Result<Self, CliError> {
        let piddir = ctx.options.piddir.clone().unwrap_or_else(|| DEFAULT_PIDDIR.to_owned());
        let access = ctx.control_access()?;
        let piddir_named = ctx.options.piddir.is_some();
        Ok(Self { user_named: access.get("user") != Some(DEFAULT_NAME), access, piddir, piddir_named })
    }

    fn database(&self) -> &str {
        self.access.get("dbname").unwrap_or(DEFAULT_NAME)
    }

    fn user(&self) -> &str {
        self.access.get("user").unwrap_or(DEFAULT_NAME)
    }

    fn with(&self, user: &str, database: &str) -> Result<Access, CliError> {
        let mut access = self.access.clone();
        if user != self.user() {
            access.set("password", "")?;
        }
        access.set("user", user)?;
        access.set("dbname", database)?;
        Ok(access)
    }
}

fn failed(message: impl AsRef<str>) -> CliError {
    CliError::refuse(format!("INSTALLATION FAILED! {}", message.as_ref()))
}

fn refused(doing: &str) -> impl Fn(tokio_postgres::Error) -> CliError {
    let doing = doing.to_owned();
    move |error| failed(format!("Could not {doing}: {}", crate::report::causes(&error)))
}

fn is_piddir(name: &str) -> bool {
    let place = Path::new(name);
    place.is_absolute() && place.is_dir()
}

/// Shows the plan until the operator proceeds or quits.
fn menu(ctx: &Context, plan: &mut Plan) -> Result<bool, CliError> {
    ctx.out.always("This will install the bucardo database into an existing Postgres cluster.");
    loop {
        let shown = |keyword: &str, variable: &str, default: &str| {
            let given = plan.access.get(keyword).map(str::to_owned);
            given.or_else(|| std::env::var(variable).ok()).unwrap_or_else(|| default.to_owned())
        };
        ctx.out.always("\nCurrent connection settings:");
        ctx.out.always(format!("1. Host:           {}", shown("host", "PGHOST", "<none>")));
        ctx.out.always(format!("2. Port:           {}", shown("port", "PGPORT", "5432")));
        ctx.out.always(format!("3. User:           {}", plan.user()));
        ctx.out.always(format!("4. Database:       {}", plan.database()));
        ctx.out.always(format!("5. PID directory:  {}", plan.piddir));
        let Some(answer) = ctx.out.ask("Enter a number to change it, P to proceed, or Q to quit: ") else {
            return Err(failed("There is nobody to answer").hint("give --batch to be asked nothing"));
        };
        match answer.to_lowercase().chars().next() {
            Some('q') => return Ok(false),
            Some('p') if is_piddir(&plan.piddir) => return Ok(true),
            Some('p') => ctx.out.always("-->Sorry, that is not a valid PID directory"),
            Some(number @ '1'..='5') => change(ctx, plan, number, answer[1..].trim())?,
            _ => {}
        }
    }
}

/// Changes one line of the menu; the new value may have stood on the same line.
fn change(ctx: &Context, plan: &mut Plan, number: char, given: &str) -> Result<(), CliError> {
    let value = if given.is_empty() { ctx.out.ask("Change it to: ").unwrap_or_default() } else { given.to_owned() };
    match number {
        '1' => plan.access.set("host", if value == "<none>" { "" } else { &value })?,
        '2' => plan.access.set("port", &value)?,
        '3' => {
            plan.access.set("user", &value)?;
            plan.user_named = true;
        }
        '4' => plan.access.set("dbname", &value)?,
        _ if is_piddir(&value) => (plan.piddir, plan.piddir_named) = (value, true),
        _ => ctx.out.always("-->Sorry, that is not a valid PID directory"),
    }
    Ok(())
}

/// A session that may install, and what it found.
struct Admin {
    connection: Connection,
    user: String,
    is_superuser: bool,
    role_exists: bool,
    database_exists: bool,
    may_create_database: bool,
}

async fn install(ctx: &Context, plan: &Plan) -> Result<(), CliError> {
    let admin = find_admin(ctx, plan).await?;
    // A catalog that is brought up to date keeps its PID directory, where a daemon may run.
    let keeps_piddir = !plan.piddir_named && is_upgrade(plan, &admin).await?;
    if !keeps_piddir && !is_piddir(&plan.piddir) {
        return Err(failed(format!("\"{}\" is not a valid PID directory", plan.piddir))
            .hint("it must exist and be absolute: create it, or give another one with --piddir"));
    }
    // A superuser lends its rights and steps back; anybody else keeps what it makes.
    let owner = if admin.is_superuser { DEFAULT_NAME.to_owned() } else { admin.user.clone() };
    let role_made = admin.is_superuser && !admin.role_exists;
    if role_made {
        create_role(ctx, &admin.connection, &owner).await?;
    }
    if !admin.database_exists {
        create_database(ctx, plan, &admin, &owner).await?;
    }
    let mut control = Box::pin(connect(&plan.with(&admin.user, plan.database())?, "bucardo install"))
        .await
        .map_err(|error| unreached(&error))?;
    populate(ctx, plan, &mut control, &admin, &owner).await?;
    if !keeps_piddir {
        let set = settings::set(&*control, "piddir", &plan.piddir).await;
        if set.map_err(|error| failed(crate::report::causes(&error)).maybe_hint(error.hint()))? {
            ctx.out.say("Updated configuration setting \"piddir\"");
        }
    }
    if role_made {
        let ready = let_log_in(ctx, plan, &admin.connection, &owner).await;
        if let Err(error) = ready {
            ctx.out.warn(format!("The role \"{owner}\" cannot connect yet: {}", error.message));
            if let Some(hint) = error.hint {
                ctx.out.warn(format!("Hint: {hint}"));
            }
        }
    }
    Ok(())
}

/// Connects as the named user to the named database, else to `postgres`, else as `postgres` and as the system user.
async fn find_admin(ctx: &Context, plan: &Plan) -> Result<Admin, CliError> {
    let mut users = vec![plan.user().to_owned()];
    let system_user = std::env::var("USER").unwrap_or_default();
    if !plan.user_named {
        users.push("postgres".to_owned());
    }
    if !plan.user_named || plan.user() == "postgres" {
        users.push(system_user);
    }
    users.retain(|user| !user.is_empty());
    users.dedup();
    let mut last = None;
    for (index, user) in users.iter().enumerate() {
        let error = match try_user(ctx, plan, user).await? {
            Ok(admin) => return Ok(admin),
            Err(error) => error,
        };
        match users.get(index + 1) {
            Some(next) if is_login_refused(&error) => {
                ctx.out.say(format!("Failed to connect as user '{user}', will try '{next}'"));
            }
            _ => return Err(unreached(&error)),
        }
        last = Some(error);
    }
    Err(last.map_or_else(|| failed("There is no user to connect as"), |error| unreached(&error)))
}

async fn try_user(ctx: &Context, plan: &Plan, user: &str) -> Result<Result<Admin, ConnectError>, CliError> {
    let database = plan.database();
    let connected = match Box::pin(connect(&plan.with(user, database)?, "bucardo install")).await {
        Err(error) if sqlstate(&error) == Some("3D000") && database != "postgres" => {
            ctx.out.say(format!("Failed to connect to database '{database}', will try 'postgres'"));
            Box::pin(connect(&plan.with(user, "postgres")?, "bucardo install")).await
        }
        connected => connected,
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => return Ok(Err(error)),
    };
    let row = connection
        .query_one(ROLE_FACTS.text(), &[&DEFAULT_NAME, &database])
        .await
        .map_err(refused("look at the server"))?;
    Ok(Ok(Admin {
        user: row.get("user_name"),
        is_superuser: row.get("is_superuser"),
        role_exists: row.get("role_exists"),
        database_exists: row.get("database_exists"),
        may_create_database: row.get("may_create_database"),
        connection,
    }))
}

async fn create_role(ctx: &Context, connection: &Connection, role: &str) -> Result<(), CliError> {
    let made = connection.batch_execute(&CREATE_ROLE.fill(&[("role", &Sql::ident(role))])).await;
    match made {
        Ok(()) => ctx.out.say(format!("Created superuser '{role}'")),
        // Somebody else made it just now.
        Err(error) if error.code().is_some_and(|state| matches!(state.code(), "42710" | "23505")) => {}
        Err(error) => return Err(refused(&format!("create the role \"{role}\""))(error)),
    }
    Ok(())
}

async fn create_database(ctx: &Context, plan: &Plan, admin: &Admin, owner: &str) -> Result<(), CliError> {
    let database = plan.database();
    if !admin.may_create_database {
        let message =
            format!("The database \"{database}\" does not exist, and user \"{}\" may not create one", admin.user);
        return Err(failed(message).hint(format!(
            "as a superuser: CREATE DATABASE {} OWNER {}",
            Sql::ident(database),
            Sql::ident(owner)
        )));
    }
    let name = Sql::ident(database);
    let doing = format!("create the database \"{database}\"");
    let create = CREATE_DATABASE.fill(&[("database", &name), ("owner", &Sql::ident(owner))]);
    admin.connection.batch_execute(&create).await.map_err(refused(&doing))?;
    let search_path = SEARCH_PATH.fill(&[("database", &name)]);
    admin.connection.batch_execute(&search_path).await.map_err(refused(&doing))?;
    ctx.out.detail(format!("Created the database \"{database}\""));
    Ok(())
}

/// Makes the schema, as its owner, and stores the PID directory.
async fn populate(
    ctx: &Context,
    plan: &Plan,
    control: &mut Connection,
    admin: &Admin,
    owner: &str,
) -> Result<(), CliError> {
    let told = |error: crate::catalog::CatalogError| {
        failed(crate::report::causes(&error)).maybe_hint(grant_hint(&error, plan, owner).or_else(|| error.hint()))
    };
    let state = migrate::state(&**control).await.map_err(told)?;
    if state == State::Level(LEVEL_NEEDED) {
        let message = format!("Bucardo is already installed in database \"{}\"", plan.database());
        return Err(failed(message));
    }
    if owner != admin.user {
        let owner = Sql::ident(owner);
        if state == (State::Absent { schema: false }) {
            let create = CREATE_SCHEMA.fill(&[("owner", &owner)]);
            control.batch_execute(&create).await.map_err(refused("create the schema \"bucardo\""))?;
        }
        let set_role = SET_ROLE.fill(&[("owner", &owner)]);
        control.batch_execute(&set_role).await.map_err(refused("become the owner of the catalog"))?;
    }
    migrate::migrate(control).await.map_err(told)?;
    ctx.out.say("Database creation is complete");
    Ok(())
}

/// Whether the database has an older catalog of ours.
async fn is_upgrade(plan: &Plan, admin: &Admin) -> Result<bool, CliError> {
    if !admin.database_exists {
        return Ok(false);
    }
    let access = plan.with(&admin.user, plan.database())?;
    let control = Box::pin(connect(&access, "bucardo install")).await.map_err(|error| unreached(&error))?;
    let state = migrate::state(&*control).await;
    let state = state.map_err(|error| failed(crate::report::causes(&error)).maybe_hint(error.hint()))?;
    Ok(matches!(state, State::Level(_)))
}

fn grant_hint(error: &crate::catalog::CatalogError, plan: &Plan, owner: &str) -> Option<String> {
    error.server_message().filter(|message| message.contains("permission denied")).map(|_| {
        format!("as a superuser: GRANT CREATE ON DATABASE {} TO {}", Sql::ident(plan.database()), Sql::ident(owner))
    })
}

/// Sees whether the new role gets in, and gives it a password when the server asks for one.
async fn let_log_in(ctx: &Context, plan: &Plan, admin: &Connection, role: &str) -> Result<(), CliError> {
    let access = plan.with(role, plan.database())?;
    match Box::pin(connect(&access, "bucardo install")).await {
        Ok(_) => return Ok(()),
        Err(error) if wants_password(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let password = random_password()?;
    let host = access.get("host").map(str::to_owned).or_else(|| std::env::var("PGHOST").ok()).unwrap_or_default();
    let port = access.get("port").map(str::to_owned).or_else(|| std::env::var("PGPORT").ok()).unwrap_or_default();
    let entry = Entry {
        host: if host.is_empty() || host.starts_with('/') { "localhost" } else { &host },
        port: if port.is_empty() { "5432" } else { &port },
        database: "*",
        user: role,
        password: &password,
    };
    let place = pgpass::append(&entry)?;
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let sql = PASSWORD.fill(&[("role", &Sql::ident(role)), ("verifier", &Sql::literal(&verifier))]);
    admin.batch_execute(&sql).await.map_err(refused("give the new role a password"))?;
    ctx.out.say(format!("Appended the password of user \"{role}\" to \"{}\"", place.display()));
    Box::pin(connect(&access, "bucardo install")).await.map(|_| ()).map_err(CliError::from)
}

/// Letters and digits from the system's source of randomness.
fn random_password() -> Result<String, CliError> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0_u8; PASSWORD_LENGTH];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| failed(format!("Could not make a password: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect())
}

fn unreached(error: &ConnectError) -> CliError {
    failed(crate::report::causes(error)).maybe_hint(error.hint())
}

fn sqlstate(error: &ConnectError) -> Option<&str> {
    match error {
        ConnectError::Refused { source, .. } => source.code().map(tokio_postgres::error::SqlState::code),
        ConnectError::All { tried } => tried.iter().find_map(sqlstate),
        _ => None,
    }
}

fn is_login_refused(error: &ConnectError) -> bool {
    sqlstate(error).is_some_and(|state| state.starts_with("28")) || wants_password(error)
}

fn wants_password(error: &ConnectError) -> bool {
    sqlstate(error) == Some("28P01") || crate::report::causes(error).contains("password missing")
}
