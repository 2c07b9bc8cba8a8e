use super::*;
use std::os::unix::fs::symlink;

struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nbdctl-original-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("d")).expect("a directory");
        Self(dir)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn export(&self, name: &str, file: &str, path: &str) -> StartupExport {
        StartupExport {
            name: name.into(),
            path: self.at(path),
            size: Some(1),
            unavailable: None,
            placeholder: false,
            read_only: false,
            force_tls: false,
            file: Some(self.at(file)),
            settings: BTreeMap::new(),
        }
    }

    fn startup(&self, exports: Vec<StartupExport>, twice: Vec<StartupExport>) -> Startup {
        let kept = |one: &StartupExport| KeptBack {
            exports: vec![one.name.clone()],
            problem: Problem {
                file: one.file.clone().unwrap_or_default(),
                line: Some(1),
                key: None,
                reason: "described twice".into(),
            },
        };
        Startup {
            program: String::new(),
            version: String::new(),
            configuration: self.at("main"),
            starts: true,
            complete: false,
            refused: Vec::new(),
            kept_back: twice.iter().map(kept).collect(),
            warnings: Vec::new(),
            exports,
            twice,
            listening: None,
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_original_takes_the_last_of_two_and_for_old_clients_the_first() {
    let files = Files::new("twice");
    fs::write(files.0.join("one"), "1").expect("written");
    fs::write(files.0.join("two"), "22").expect("written");
    fs::write(files.0.join("d/a.conf"), "").expect("written");
    let ours =
        files.startup(vec![files.export("a", "main", "one")], vec![files.export("a", "d/a.conf", "two")]);
    assert_eq!(startup_of(Kind::Enhanced, &ours), ours);
    let then = startup_of(Kind::Original, &ours);
    assert_eq!((then.exports[0].path.as_str(), then.exports[0].size), (files.at("two").as_str(), Some(2)));
    assert_eq!(then.kept_back, [], "the original starts with both");
    let twice = twice(&ours);
    assert_eq!(
        (twice.len(), twice[0].one_disk, twice[0].ours.as_str()),
        (1, false, files.at("one").as_str())
    );
    assert_eq!(
        (twice[0].by_go.clone(), twice[0].by_export_name.clone()),
        (Some(files.at("two")), Some(files.at("one")))
    );
    fs::remove_file(files.0.join("two")).expect("removed");
    symlink("one", files.0.join("two")).expect("a link");
    assert!(super::twice(&ours)[0].one_disk);
}

#[test]
fn of_two_snippets_the_original_takes_the_last_that_the_directory_lists() {
    let files = Files::new("order");
    let names = ["b", "a", "f", "c"];
    for name in names {
        fs::write(files.0.join(format!("d/{name}.conf")), "").expect("written");
        fs::write(files.0.join(name), name).expect("written");
    }
    let listed = fs::read_dir(files.0.join("d")).expect("listed").flatten().last().expect("four");
    let last = listed.path().file_stem().expect("a name").to_string_lossy().into_owned();
    let mut all: Vec<StartupExport> =
        names.iter().map(|name| files.export("x", &format!("d/{name}.conf"), name)).collect();
    let twice = all.split_off(1);
    let then = startup_of(Kind::Original, &files.startup(all, twice));
    assert_eq!(then.exports[0].path, files.at(&last));
}

#[test]
fn what_stands_behind_a_link_is_not_there_for_the_original_and_without_any_it_does_not_start() {
    let files = Files::new("link");
    fs::write(files.0.join("real"), "").expect("written");
    symlink("../real", files.0.join("d/a.conf")).expect("a link");
    let (plain, linked) = (files.export("plain", "main", "one"), files.export("linked", "d/a.conf", "two"));
    let then = startup_of(Kind::Original, &files.startup(vec![plain, linked.clone()], Vec::new()));
    let why = format!("3.24 passes over {}, which is a link", files.at("d/a.conf"));
    assert_eq!((then.starts, &then.exports[0].unavailable), (true, &None));
    assert_eq!(then.exports[1].unavailable, Some(why));
    let then = startup_of(Kind::Original, &files.startup(vec![linked], Vec::new()));
    assert!(!then.starts && then.refused[0].reason.contains("without an export"), "{:?}", then.refused);
    let then = startup_of(Kind::Original, &files.startup(Vec::new(), Vec::new()));
    assert!(!then.starts);
    let mut broken = files.startup(vec![files.export("plain", "main", "one")], Vec::new());
    let problem = Problem { file: files.at("d/a.conf"), line: None, key: None, reason: "broken".into() };
    broken.kept_back = vec![KeptBack { exports: Vec::new(), problem }];
    assert_eq!(startup_of(Kind::Original, &broken).kept_back, [], "it does not read it");
}

#[test]
fn what_ours_keeps_out_by_a_key_of_its_own_the_original_serves_and_that_is_said() {
    let files = Files::new("guards");
    fs::write(files.0.join("one"), "1").expect("written");
    let with = |key: &str, path: &str| StartupExport {
        unavailable: Some("another disk".into()),
        settings: BTreeMap::from([(key.to_owned(), "x".to_owned())]),
        ..files.export(key, "main", path)
    };
    let ours = files
        .startup(vec![with("identity", "one"), with("exclusive", "none"), with("flush", "one")], Vec::new());
    let then = startup_of(Kind::Original, &ours);
    let served: Vec<bool> = then.exports.iter().map(|export| export.unavailable.is_none()).collect();
    assert_eq!(served, [true, false, false]);
    let said = unguarded(&ours);
    let one = files.at("one");
    assert_eq!(
        said[0],
        format!("identity has identity, which 3.24 passes over: {one} would be served whichever disk it is")
    );
    assert_eq!(said.len(), 2);
}
