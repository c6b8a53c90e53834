//! A real Prometheus over a storage that a test has filled.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A Prometheus that is killed at the end.
pub(crate) struct Prometheus {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts a Prometheus with a storage, and waits until it reports that it is ready.
    pub(crate) fn start(program: &Path, directory: &Path) -> Self {
        fs::write(directory.join("prometheus.yml"), "scrape_configs: []\n").unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut command = Command::new(program);
        command
            .arg(format!("--web.listen-address={address}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"])
            .current_dir(directory)
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("Server is ready to receive web requests") {
            assert!(log.read_line(&mut lines).unwrap() > 0, "Prometheus has ended:\n{lines}");
        }
        // Its pipe must not be full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }
}
