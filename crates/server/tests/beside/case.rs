//! One configuration, the files that it is about, and what is known to differ.

use crate::rules::Rule;
use crate::visit::Visit;
use std::path::Path;
use std::time::Duration;

type Making = Box<dyn Fn(&Path) + Send + Sync>;
type Probe = Box<dyn Fn(&mut Visit<'_>) + Send + Sync>;

/// Who is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Clients on a port of 127.0.0.1.
    Tcp,
    /// Clients on `{dir}/socket`.
    Unix,
    /// Nobody: the program says something and ends.
    Nobody,
}

/// A configuration. Begins as: `{port}` on 127.0.0.1, `allowlist = true`, no exports.
pub struct Case {
    pub name: String,
    pub generic: String,
    pub exports: String,
    pub main: Option<String>,
    pub args: Vec<String>,
    pub files: Vec<Making>,
    /// Exports that are visited.
    pub visited: Vec<String>,
    pub serves: Serves,
    /// Whether requests are sent; otherwise only what GO says counts.
    pub script: bool,
    /// Whether foreign clients look at it.
    pub tools: bool,
    /// More that is looked at, after the visits.
    pub probes: Vec<Probe>,
    pub rules: Vec<Rule>,
    /// How often the original is looked at, until it tells what ours told. More than once only where chance speaks in
    /// it: ours is looked at once.
    pub visits: usize,
    /// How long a client waits for an answer.
    pub patience: Duration,
    pub snippets: String,
}

impl Case {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            generic: String::new(),
            exports: String::new(),
            main: None,
            args: ["-C", "{dir}/config", "-p", "{dir}/pid"].map(str::to_owned).to_vec(),
            files: Vec::new(),
            visited: Vec::new(),
            serves: Serves::Tcp,
            script: true,
            tools: true,
            probes: Vec::new(),
            rules: Vec::new(),
            visits: 1,
            patience: testkit::client::TIMEOUT,
            snippets: String::new(),
        }
    }

    /// One export called `a` on a file of a MiB of noise, with more lines.
    pub fn one(name: &str, lines: &str) -> Self {
        Self::new(name).disk("disk", 1 << 20).export("a", &format!("exportname = {{dir}}/disk\n{lines}"))
    }

    /// A start that is meant to fail, or a command that prints something: nobody is served.
    pub fn fails(self) -> Self {
        Self { serves: Serves::Nobody, ..self }
    }

    /// Lines of `[generic]`.
    pub fn generic(mut self, lines: &str) -> Self {
        self.generic += &format!("{lines}\n");
        self
    }

    /// An export that is visited.
    pub fn export(mut self, name: &str, lines: &str) -> Self {
        self.visited.push(name.into());
        self.group(name, lines)
    }

    /// A group of the main file, whatever becomes of it.
    pub fn group(mut self, name: &str, lines: &str) -> Self {
        self.exports += &format!("[{name}]\n{lines}\n");
        self
    }

    /// Visits a name that may be there or not.
    pub fn visit(mut self, name: &str) -> Self {
        self.visited.push(name.into());
        self
    }

    /// Replaces the whole main file.
    pub fn main(mut self, text: &str) -> Self {
        self.main = Some(text.into());
        self
    }

    /// The command line.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// More of the command line.
    pub fn arg(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Makes files before the start.
    pub fn files(mut self, make: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        self.files.push(Box::new(make));
        self
    }

    /// A file of noise.
    pub fn disk(self, name: &str, len: usize) -> Self {
        let name = name.to_owned();
        self.files(move |dir| write(&dir.join(&name), &noise(len)))
    }

    /// A file of text, in which `{dir}` and `{port}` are not replaced.
    pub fn text(self, name: &str, text: &str) -> Self {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.files(move |dir| write(&dir.join(&name), text.as_bytes()))
    }

    /// A file of `includedir`, which is `{dir}/conf.d`.
    pub fn snippet(mut self, name: &str, text: &str) -> Self {
        self.snippets += text;
        let (name, text) = (name.to_owned(), text.to_owned());
        self.files(move |dir| {
            let text = text.replace("{dir}", &dir.display().to_string());
            write(&dir.join("conf.d").join(&name), text.as_bytes());
        })
    }

    pub fn unix(self) -> Self {
        Self { serves: Serves::Unix, ..self }
    }

    pub fn without_script(self) -> Self {
        Self { script: false, ..self }
    }

    pub fn without_tools(self) -> Self {
        Self { tools: false, ..self }
    }

    pub fn visits(self, visits: usize) -> Self {
        Self { visits, ..self }
    }

    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Looks at more than every configuration is looked at for.
    pub fn probe(mut self, probe: impl Fn(&mut Visit<'_>) + Send + Sync + 'static) -> Self {
        self.probes.push(Box::new(probe));
        self
    }

    /// A fact that differs, from these words of the original to these of ours; `*` stands for anything.
    pub fn differs(mut self, id: &'static str, fact: &str, theirs: &str, ours: &str) -> Self {
        self.rules.push(Rule::is(id, fact, theirs, ours));
        self
    }

    /// The same, where it may also be that a run does not show it.
    pub fn may_differ(mut self, id: &'static str, fact: &str, theirs: &str, ours: &str) -> Self {
        self.rules.push(Rule::is(id, fact, theirs, ours).perhaps());
        self
    }

    /// An export that neither lets in: the original's INFO says nothing of that, and its log says who comes before it
    /// looks.
    pub fn kept_out(self, name: &str) -> Self {
        self.differs("D-50", &format!("{name}: info"), "granted", "POLICY *")
            .may_differ("D-50", &format!("{name}: info flags"), "*", "-")
            .may_differ("D-50", "*nbdinfo*", "*", "*")
            .may_differ("D-106", "log: connect from *", "<30> *", "-")
    }

    /// An export that only the original lets in.
    pub fn refused(self, id: &'static str, name: &str) -> Self {
        self.differs(id, &format!("{name}: go"), "granted", "POLICY *")
            .differs(id, &format!("{name}: old way"), "*", "closed")
            .may_differ("D-50", &format!("{name}: info*"), "*", "-")
            .may_differ(id, &format!("{name}: *"), "*", "-")
            .may_differ(id, "log: Size of exported file/device is *", "<30> *", "-")
            .may_differ(id, "log: export * refused to *", "-", "<27> *")
            .may_differ(id, "log: Client '*' is not authorized to access", "-", "<30> *")
            .may_differ(id, "*qemu-img*", "*", "*")
            .kept_out(name)
    }

    /// An export that only ours lets in.
    pub fn let_in(self, id: &'static str, name: &str) -> Self {
        self.differs(id, &format!("{name}: go"), "*", "granted")
            .may_differ(id, &format!("{name}: *"), "*", "*")
            .may_differ(id, "log: *", "<27> *", "-")
            .may_differ(id, "file: *", "*", "*")
            .may_differ(id, "log: connect from *", "*", "*")
            .may_differ(id, "log: Size of exported file/device is *", "-", "<30> *")
    }

    /// Several facts that differ for one reason, whatever their values are.
    pub fn differ_in(mut self, id: &'static str, facts: &[&str]) -> Self {
        self.rules.extend(facts.iter().map(|fact| Rule::is(id, fact, "*", "*")));
        self
    }

    /// A start that only the original makes; what it says then.
    pub fn not_started(self, id: &'static str, says: &str) -> Self {
        self.start_differs(id, ("0", "true", ""), ("1", "false", says))
    }

    /// A start that only ours makes; what the original says then.
    pub fn only_ours_starts(self, id: &'static str, says: &str) -> Self {
        self.start_differs(id, ("1", "false", says), ("0", "true", ""))
    }

    fn start_differs(self, id: &'static str, theirs: (&str, &str, &str), ours: (&str, &str, &str)) -> Self {
        self.differs(id, "start: status", theirs.0, ours.0)
            .differs(id, "start: serves", theirs.1, ours.1)
            .differs(id, "start: stderr", theirs.2, ours.2)
    }

    /// The main file.
    pub fn config(&self) -> String {
        self.main.clone().unwrap_or_else(|| {
            let generic = &self.generic;
            format!(
                "[generic]\nport = {{port}}\nlistenaddr = 127.0.0.1\nallowlist = true\n{generic}{}",
                self.exports
            )
        })
    }

    /// All that is configured, snippets included.
    pub fn whole_text(&self) -> String {
        format!("{}\n{}", self.config(), self.snippets)
    }
}

/// Bytes that are the same in every run and nowhere repeat.
pub fn noise(len: usize) -> Vec<u8> {
    (0..len.div_ceil(8) as u64).flat_map(|word| testkit::pattern::mix(word).to_le_bytes()).take(len).collect()
}

/// Writes a file, and the directory that it stands in.
pub fn write(path: &Path, bytes: &[u8]) {
    let dir = path.parent().expect("a file stands in a directory");
    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(path, bytes)).unwrap_or_else(|error| {
        panic!("{}: {error}", path.display());
    });
}
