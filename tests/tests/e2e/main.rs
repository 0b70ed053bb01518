//! The end-to-end tests: one binary, so that they are linked once and run beside each other. Each
//! makes the network that it needs, in namespaces of its own.

mod addresses;
mod calls;
mod clients;
mod codecs;
mod configurations;
mod control;
mod examples;
mod files;
mod inline;
mod kamailio;
mod laboratory;
mod languages;
mod life;
mod maps;
mod nics;
mod peers;
mod pressure;
mod privileges;
mod proxies;
mod queues;
mod reload;
mod remote;
mod replies;
mod roads;
mod routes;
mod settings;
mod stacking;
mod stateless;
mod syslog;
mod takeover;
mod takeover_tcp;
mod top;
mod transformations;
mod trust;
mod wire;
