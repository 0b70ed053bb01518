//! What the recipes in docs/container give a container; the package is tried with no more.

/// Capabilities that the start takes.
pub const CAPABILITIES: [&str; 8] = [
    "BPF",
    "PERFMON",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "SETUID",
    "SETGID",
    "NET_BIND_SERVICE",
];

#[cfg(test)]
mod tests {
    use std::fs;

    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;
    use crate::compile;

    fn read(path: &str) -> String {
        fs::read_to_string(compile::workspace().join(path)).expect(path)
    }

    fn words(list: &Yaml) -> Vec<&str> {
        list.as_vec()
            .expect("a list")
            .iter()
            .map(|word| word.as_str().expect("a word"))
            .collect()
    }

    #[test]
    fn the_manifest_for_kubernetes_gives_what_the_package_is_tried_with() {
        let documents =
            YamlLoader::load_from_str(&read("docs/container/kubernetes.yaml")).expect("YAML");
        let [set] = documents.as_slice() else {
            panic!("{} documents", documents.len());
        };
        assert_eq!(set["kind"].as_str(), Some("DaemonSet"));
        let template = &set["spec"]["template"];
        assert_eq!(
            set["spec"]["selector"]["matchLabels"],
            template["metadata"]["labels"]
        );
        let pod = &template["spec"];
        assert_eq!(pod["hostNetwork"].as_bool(), Some(true));
        let container = &pod["containers"][0];
        let capabilities = &container["securityContext"]["capabilities"];
        assert_eq!(words(&capabilities["add"]), CAPABILITIES);
        assert_eq!(words(&capabilities["drop"]), ["ALL"]);
        let volumes = pod["volumes"].as_vec().expect("volumes");
        for mount in container["volumeMounts"].as_vec().expect("mounts") {
            let is_there = volumes.iter().any(|volume| volume["name"] == mount["name"]);
            assert!(is_there, "no volume for {mount:?}");
        }
    }

    #[test]
    fn the_documentation_s_command_gives_the_same() {
        let option = format!("--cap-drop all --cap-add {} ", CAPABILITIES.join(","));
        assert!(read("docs/packages.md").contains(&option), "{option}");
    }
}
