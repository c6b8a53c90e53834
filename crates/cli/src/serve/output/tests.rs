use super::*;

fn dropped(registry: &Registry) -> u64 {
    registry.dropped(SIGNAL, WRITE_FAILED).get()
}

fn chunk(bytes: &'static [u8]) -> Chunk {
    Chunk { bytes: Bytes::from_static(bytes), owner: None }
}

/// Holds writes back until the lock is free.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn blocked_output_blocks_no_thread() {
    let sink = Sink::default();
    let (output, ended) = start(
        "test",
        {
            let sink = sink.clone();
            move || sink
        },
        &Registry::new(),
    )
    .unwrap();
    let mut stream = output.p2_stream();
    let chunk = Bytes::from_static(b"0123456789");
    let mut written = 0;
    {
        let _blocked = sink.0.lock().unwrap();
        // The thread takes the first chunk and waits with it, so that it takes no other one
        // below.
        stream.write(chunk.clone()).unwrap();
        written += 1;
        while output.sender.capacity() < limits::STDIO_CHUNKS {
            thread::yield_now();
        }
        while stream.check_write().unwrap() > 0 {
            stream.write(chunk.clone()).unwrap();
            written += 1;
        }
        // One is being written, and one waits for room.
        assert_eq!(written, limits::STDIO_CHUNKS + 2);
        assert!(stream.write(chunk.clone()).is_err(), "there is no permit");
        assert!(!output.line("no room".to_owned()));
    }
    stream.ready().await;
    assert!(stream.check_write().unwrap() > 0);
    drop((stream, output));
    assert_eq!(ended.recv(), Err(sync::RecvError));
    assert_eq!(sink.0.lock().unwrap().as_slice(), chunk.repeat(written), "nothing is lost");
}

/// Fails with these errors in turn, then writes half of the bytes of each call.
struct Failing {
    errors: Vec<ErrorKind>,
    written: Vec<u8>,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.errors.pop() {
            return Err(kind.into());
        }
        let half = bytes.len().div_ceil(2);
        self.written.extend_from_slice(&bytes[..half]);
        Ok(half)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer(errors: &[ErrorKind]) -> Writer<Failing> {
    let output = Failing { errors: errors.to_vec(), written: Vec::new() };
    Writer { name: "test", output, registry: Registry::new(), has_failed: false }
}

#[test]
fn full_disk_is_retried() {
    let mut writer = writer(&[ErrorKind::StorageFull, ErrorKind::Interrupted, ErrorKind::StorageFull]);
    writer.write(&chunk(b"a line\n"), true);
    assert_eq!((writer.output.written.as_slice(), dropped(&writer.registry)), (&b"a line\n"[..], 0));
}

#[test]
fn failed_output_drops_and_recovers() {
    let mut writer = writer(&[ErrorKind::StorageFull, ErrorKind::BrokenPipe]);
    writer.write(&chunk(b"lost\n"), true);
    // Not retried, since the output has failed already.
    writer.write(&chunk(b"lost\n"), true);
    writer.write(&chunk(b"back\n"), true);
    assert_eq!((writer.output.written.as_slice(), dropped(&writer.registry)), (&b"back\n"[..], 2));
}

#[tokio::test]
async fn guests_never_see_failed_output() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let registry = Registry::new();
    let (output, ended) = start("test", || Closed, &registry).unwrap();
    let mut stream = output.p2_stream();
    stream.write(Bytes::from_static(b"x")).unwrap();
    while dropped(&registry) == 0 {
        thread::yield_now();
    }
    assert!(stream.check_write().unwrap() > 0);
    stream.write(Bytes::from_static(b"y")).unwrap();
    drop((stream, output));
    assert_eq!(ended.recv(), Err(sync::RecvError));
    assert_eq!(dropped(&registry), 2);
}

fn identity(component: &str, tenant: &str) -> Arc<Identity> {
    Arc::new(Identity::new(component).with_tenant(tenant))
}

fn write_all(stream: &mut dyn OutputStream, text: &'static str) -> usize {
    let mut written = 0;
    while stream.check_write().unwrap() > 0 {
        stream.write(Bytes::from_static(text.as_bytes())).unwrap();
        written += 1;
    }
    written
}

/// Two components of one tenant fill their lane. Another tenant has room, and its chunks, as
/// the host's, are among the next to be written.
#[test]
fn flooding_tenant_waits_for_itself() {
    let sink = Sink::default();
    let thread_sink = sink.clone();
    let (output, ended) = start("test", || thread_sink, &Registry::new()).unwrap();
    let [one, two] = ["one", "two"].map(|name| output.of(&identity(name, "mallory")));
    let bank = output.of(&identity("bank", "bank"));
    let flooded = {
        let _blocked = sink.0.lock().unwrap();
        let mut streams = [one.p2_stream(), two.p2_stream()];
        let flooded = streams.iter_mut().map(|stream| write_all(&mut **stream, "z\n")).sum::<usize>();
        // Each stream has one that waits for room, and the thread has taken one at most.
        let least = limits::STDIO_LANE_CHUNKS + 2;
        assert!((least..=least + 1).contains(&flooded), "{flooded}");
        bank.p2_stream().write(Bytes::from_static(b"bank\n")).unwrap();
        assert!(bank.line("about the bank".to_owned()) && output.line("the host".to_owned()));
        flooded
    };
    drop((output, one, two, bank));
    assert_eq!(ended.recv(), Err(sync::RecvError));
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for line in ["bank", "about the bank", "the host"] {
        let place = lines.iter().position(|other| *other == line).unwrap();
        assert!(place < 10, "{line} comes after {place} others");
    }
    // What waited for room was with the streams, which are gone.
    assert_eq!(lines.iter().filter(|line| **line == "z").count(), flooded - 2);
}

/// Chunks that cannot be written are counted with the component that wrote them.
#[test]
fn failed_output_has_its_owner() {
    let mut writer = writer(&[ErrorKind::BrokenPipe; 3]);
    let evil = identity("evil", "mallory");
    let of_evil = || Chunk { bytes: Bytes::from_static(b"z"), owner: Some(Arc::clone(&evil)) };
    writer.write(&of_evil(), true);
    writer.write(&chunk(b"the host"), true);
    writer.write(&of_evil(), true);
    let registry = &writer.registry;
    assert_eq!((registry.dropped_of(&evil, SIGNAL, WRITE_FAILED).get(), dropped(registry)), (2, 1));
}
