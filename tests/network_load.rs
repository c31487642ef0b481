//! Many connections and flows at once through the gateway. `RL_TEST_LOAD=9` multiplies them: 9,000 connections at once, 27,000 one after
//! another and 4,500 flows, for which the caller needs a hard limit of 20,000 descriptors (benches/README.md).

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Feature, Rl, host_v4, require};

/// How many times as many as in an ordinary test.
fn load() -> usize {
    std::env::var("RL_TEST_LOAD").map_or(1, |times| times.parse().expect("RL_TEST_LOAD is a number"))
}

fn raise_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// One process of the host's own system that answers each connection's bytes, on several ports: for each a client has some 28,000 of its
/// own, which it may use again a minute later (tcp(7), TIME_WAIT).
const SERVER: &str = "import asyncio,sys,resource\n\
h=resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE,(h,h))\n\
async def one(r,w):\n\
\x20while b:=await r.read(100): w.write(b)\n\
\x20w.close()\n\
async def main():\n\
\x20all=[await asyncio.start_server(one,sys.argv[1],int(p),backlog=4096) for p in sys.argv[2:]]\n\
\x20print(*[s.sockets[0].getsockname()[1] for s in all],flush=True)\n\
\x20await asyncio.to_thread(sys.stdin.read)\n\
\x20import os; os._exit(0)\n\
asyncio.run(main())";

/// In the container: so many connections at once, each held until all have been answered, twice; then so many one after another, in tens.
const CLIENT: &str = "import asyncio,sys,os\n\
to,held,brief,ports=sys.argv[1],int(sys.argv[2]),int(sys.argv[3]),sys.argv[4:]\n\
async def say(r,w,i):\n\
\x20w.write(b'%08d'%i)\n\
\x20return await asyncio.wait_for(r.readexactly(8),50)==b'%08d'%i\n\
async def open(i):\n\
\x20c=await asyncio.open_connection(to,int(ports[i%len(ports)]))\n\
\x20return await say(*c,i),c\n\
async def gather(n,what):\n\
\x20out,todo=[],list(range(n))\n\
\x20async def worker():\n\
\x20\x20while todo: out.append(await what(todo.pop()))\n\
\x20await asyncio.gather(*[worker() for _ in range(100)])\n\
\x20return out\n\
async def once(i):\n\
\x20ok,(r,w)=await open(i); w.close()\n\
\x20return ok\n\
async def main():\n\
\x20all=await gather(held,open)\n\
\x20print(sum(ok for ok,_ in all),flush=True)\n\
\x20again=await asyncio.gather(*[say(*c,i) for i,(_,c) in enumerate(all)])\n\
\x20print(sum(again),flush=True)\n\
\x20for _,(r,w) in all: w.close()\n\
\x20print(sum(await gather(brief,once)),flush=True)\n\
asyncio.run(main())";

fn server(ip: IpAddr) -> (support::Background, Vec<String>) {
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-c", SERVER, &ip.to_string(), "0", "0", "0", "0"]);
    let running = support::Background::spawn(command);
    running.expect("\n");
    let ports = running.stdout().split_whitespace().map(String::from).collect();
    (running, ports)
}

#[test]
fn all_of_many_connections_are_served_and_the_users_pipes_stay_large() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    raise_limit();
    let rl = Rl::new();
    let (held, brief) = (1000 * load(), 3000 * load());
    let (running, ports) = server(host_v4());
    let limit = format!("nofile={}", held + 100);
    let arguments = [vec![host_v4().to_string(), held.to_string(), brief.to_string()], ports].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let client = [&["run", "--rm", "--ulimit", &limit, "rootfs:/", "/usr/bin/python3", "-c", CLIENT][..], &arguments].concat();
    let client = rl.start(client);
    client.expect(&format!("{held}\n"));
    let pipe = nix::unistd::pipe().unwrap();
    let size = nix::fcntl::fcntl(&pipe.1, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
    assert!(size >= 64 << 10, "a new pipe of the user's holds {size} bytes");
    assert_eq!(client.finish().ok().stdout(), format!("{held}\n{held}\n{brief}"));
    drop(running);
}

/// In the container: so many connections are wanted; each stays open until `fit` of them are, is answered once more then, and ends.
const HOLDER: &str = "import asyncio,sys,resource\n\
to,wanted,fit,ports=sys.argv[1],int(sys.argv[2]),int(sys.argv[3]),sys.argv[4:]\n\
many,count=asyncio.Semaphore(1000),0\n\
async def say(r,w,i):\n\
\x20w.write(b'%08d'%i)\n\
\x20return await r.readexactly(8)==b'%08d'%i\n\
async def one(i,full):\n\
\x20global count\n\
\x20async with many:\n\
\x20\x20r,w=await asyncio.open_connection(to,int(ports[i%len(ports)])); ok=await say(r,w,i)\n\
\x20count+=1\n\
\x20if count==fit:\n\
\x20\x20print(count,'are open',flush=True); await asyncio.to_thread(sys.stdin.readline); full.set()\n\
\x20await full.wait(); ok=await say(r,w,i) and ok; w.close()\n\
\x20return ok\n\
async def main():\n\
\x20full=asyncio.Event(); print(sum(await asyncio.gather(*[one(i,full) for i in range(wanted)])),'were served',flush=True)\n\
asyncio.run(main())";

/// The memory of the process with this title, in kB.
fn resident(title: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_it =
        |path: &std::path::PathBuf| std::fs::read_to_string(path.join("cmdline")).is_ok_and(|line| line.starts_with(title));
    let path = processes.filter(|path| path.join("cmdline").exists()).find(is_it).expect("the process is there");
    let status = std::fs::read_to_string(path.join("status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).expect("VmRSS")
}

/// As many as the caller's hard limit of descriptors leaves room for, at most 10,000, and 200 more that have to wait until some end.
#[test]
fn ten_thousand_connections_are_open_at_once_or_what_the_limit_allows_and_the_rest_waits() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    raise_limit();
    let rl = Rl::new();
    // Two descriptors for each in the gateway; some hundred are for other things.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).unwrap().1 as usize;
    let fit = 10_000.min(limit / 2 - 200);
    let wanted = fit + 200;
    let (running, ports) = server(host_v4());
    let name = format!("many-{}", std::process::id());
    let arguments = [vec![host_v4().to_string(), wanted.to_string(), fit.to_string()], ports].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = [
        "run",
        "-i",
        "--rm",
        "--name",
        &name,
        "--ulimit",
        &format!("nofile={limit}"),
        "rootfs:/",
        "/usr/bin/python3",
        "-c",
        HOLDER,
    ];
    let mut client = rl.start([&run[..], &arguments].concat());
    client.expect(&format!("{fit} are open\n"));
    let kilobytes = resident(&format!("rl[{name}]: gateway"));
    assert!(kilobytes < 64 << 10, "the gateway has {kilobytes} kB");
    client.write("\n");
    assert_eq!(client.finish().ok().stdout().lines().last(), Some(&*format!("{wanted} were served")));
    drop(running);
}

#[test]
fn what_the_gateway_has_no_descriptor_for_waits_and_is_not_lost() {
    require!(Feature::SubIds, Feature::Tool("python3"), Feature::Tool("prlimit"));
    let rl = Rl::new();
    let (running, ports) = server(host_v4());
    // Room for some 200 connections; 300 are wanted, each for a moment.
    let command = format!(
        "import asyncio\nasync def one(i):\n r,w=await asyncio.open_connection('{}',{}); w.write(b'x'*8)\n\
         \x20ok=await r.readexactly(8)==b'x'*8; await asyncio.sleep(.2); w.close(); return ok\n\
         async def main(): print(sum(await asyncio.gather(*[one(i) for i in range(300)])))\nasyncio.run(main())",
        host_v4(),
        ports[0]
    );
    let run = rl.command(["run", "--rm", "--ulimit", "nofile=600", "rootfs:/", "/usr/bin/python3", "-c", &command]);
    let limited = support::in_shell("sh", "exec prlimit --nofile=600:600 \"$@\"", &run);
    assert_eq!(support::run(limited).ok().stdout(), "300");
    drop(running);
}

#[test]
fn clients_of_a_published_port_that_there_is_no_descriptor_for_wait() {
    require!(Feature::SubIds, Feature::Tool("python3"), Feature::Tool("prlimit"));
    let rl = Rl::new();
    let run =
        ["run", "-i", "--rm", "--name", "few", "-p", "127.0.0.1::80", "rootfs:/", "/usr/bin/python3", "-c", SERVER, "", "80"];
    let limited = support::in_shell("sh", "exec prlimit --nofile=600:600 \"$@\"", &rl.command(run));
    let running = support::Background::spawn(limited);
    running.expect("80");
    let port: SocketAddr = rl.cmd(["port", "few", "80"]).ok().stdout().parse().unwrap();
    let clients: Vec<_> = (0..300u32)
        .map(|i| {
            thread::Builder::new().stack_size(128 << 10).spawn(move || {
                let mut stream = TcpStream::connect(port).expect("connect");
                let mut answer = [0; 4];
                stream
                    .write_all(&i.to_be_bytes())
                    .and_then(|()| stream.read_exact(&mut answer))
                    .map(|()| answer == i.to_be_bytes())
            })
        })
        .collect();
    let served = clients.into_iter().map(|client| client.unwrap().join().unwrap());
    assert_eq!(served.filter(|answer| matches!(answer, Ok(true))).count(), 300);
    rl.cmd(["rm", "-f", "few"]).ok();
    running.finish();
}

#[test]
fn many_flows_of_datagrams_are_answered() {
    require!(Feature::SubIds, Feature::Tool("python3"));
    let rl = Rl::new();
    let socket = UdpSocket::bind((host_v4(), 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    let flows = 500 * load();
    // A datagram may be lost; a flow is not.
    let script = format!(
        "import socket\nall=[]\nfor i in range({flows}):\n s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1); s.connect(('{}',{}))\n\
         \x20for n in range(20):\n\x20 try:\n\x20  s.send(b'%d'%i)\n\x20  if s.recv(20)==b'%d'%i: all.append(s); break\n\x20 except TimeoutError: pass\nprint(len(all))",
        address.ip(),
        address.port()
    );
    let limit = format!("nofile={}", flows + 100);
    let run = rl.cmd(["run", "--rm", "--ulimit", &limit, "rootfs:/", "/usr/bin/python3", "-c", &script]).ok();
    assert_eq!(run.stdout(), flows.to_string());
}
