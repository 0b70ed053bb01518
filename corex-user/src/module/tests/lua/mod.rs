//! Scripts in Lua, from a configuration's call to its effect.

mod bounds;
mod calls;
mod ksr;
mod reload;
mod sandbox;

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::hook::lua::LuaEngine;

const MODULES: &str = "loadmodule \"pv.so\"\nloadmodule \"sl.so\"\nloadmodule \"textops.so\"\n\
    loadmodule \"corex.so\"\nloadmodule \"maxfwd.so\"\nloadmodule \"siputils.so\"\n\
    loadmodule \"xlog.so\"\nloadmodule \"htable.so\"\nloadmodule \"app_lua.so\"\n\
    modparam(\"htable\", \"htable\", \"t=>size=4\")\n\
    modparam(\"app_lua\", \"load\", \"script.lua\")\n";

/// What scripts say: `say(1, "a", nil)` is `number:1 string:a nil:nil`.
const SAY: &str = r##"
    function say(...)
        local out = {}
        for at = 1, select("#", ...) do
            local value = select(at, ...)
            out[at] = type(value) .. ":" .. tostring(value)
        end
        KSR.corex.send_data("sip:192.0.2.9", table.concat(out, " "))
    end
"##;

/// A directory with a configuration and a script, which goes away with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("corex-lua-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Loads a configuration that runs `script.lua`.
    fn load(&self, config: &str) -> Loaded {
        self.write("corex.cfg", &format!("{MODULES}\n{config}"));
        super::load(&self.0.join("corex.cfg"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A worker with a script.
struct Case {
    folder: Folder,
    config: Config,
    runtime: Runtime,
    host: TestHost,
}

impl Case {
    fn new(script: &str, config: &str) -> Case {
        let folder = Folder::new();
        folder.write("script.lua", &format!("{SAY}\n{script}"));
        Case::in_folder(folder, config)
    }

    fn in_folder(folder: Folder, config: &str) -> Case {
        let loaded = folder.load(config);
        assert!(!loaded.report.has_errors(), "{}", loaded.report);
        let config = loaded.config.unwrap();
        Case {
            runtime: Runtime::new(Arc::clone(&config.program), 0),
            folder,
            config,
            host: TestHost::default(),
        }
    }

    /// Runs a message through; what was sent.
    fn run(&mut self, message: &[u8]) -> Vec<String> {
        let end = run(&mut self.runtime, message, &mut self.host);
        assert_ne!(end, RouteEnd::Failed);
        let sent = std::mem::take(&mut self.host.sent).into_iter();
        sent.map(|sent| String::from_utf8_lossy(&sent.payload).into_owned())
            .collect()
    }

    /// Ends the engine's rest.
    fn wake(&mut self) {
        self.runtime.engine::<LuaEngine>().unwrap().wake();
    }

    /// A counter's value.
    fn count(&self, name: &str) -> u64 {
        let snapshot = self.config.program.languages.lua.snapshot();
        let found = snapshot.iter().find(|(known, _)| *known == name);
        found.unwrap().1
    }
}

/// What `f` says for INVITE.
fn said_by(script: &str) -> Vec<String> {
    said_on(INVITE, script)
}

fn said_on(message: &[u8], script: &str) -> Vec<String> {
    let mut case = Case::new(
        &format!("function f()\n{script}\nend"),
        "request_route { lua_run(\"f\"); }\nreply_route { lua_run(\"f\"); }",
    );
    let said = case.run(message);
    assert_eq!(case.count("errors"), 0, "{script}: {said:?}");
    said
}

/// What one expression is.
fn value_of(expression: &str) -> String {
    said_by(&format!("say({expression})")).concat()
}
