# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rl_global_optspecs
    string join \n root= log-level= h/help V/version
end

function __fish_rl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rl_using_subcommand
    set -l cmd (__fish_rl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rl -n "__fish_rl_needs_command" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_needs_command" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_needs_command" -s V -l version -d 'Print version'
complete -c rl -n "__fish_rl_needs_command" -f -a "run" -d 'Run a command in a new container'
complete -c rl -n "__fish_rl_needs_command" -f -a "pull" -d 'Download images from registries'
complete -c rl -n "__fish_rl_needs_command" -f -a "create" -d 'Create a container without starting it'
complete -c rl -n "__fish_rl_needs_command" -f -a "start" -d 'Start containers that were created, or have ended'
complete -c rl -n "__fish_rl_needs_command" -f -a "stop" -d 'Stop containers: their stop signal, then SIGKILL'
complete -c rl -n "__fish_rl_needs_command" -f -a "restart" -d 'Stop containers and start them again'
complete -c rl -n "__fish_rl_needs_command" -f -a "kill" -d 'Send a signal to containers'
complete -c rl -n "__fish_rl_needs_command" -f -a "pause" -d 'Freeze all processes of containers'
complete -c rl -n "__fish_rl_needs_command" -f -a "unpause" -d 'Let frozen containers go on'
complete -c rl -n "__fish_rl_needs_command" -f -a "wait" -d 'Wait for containers to end, and print their exit codes'
complete -c rl -n "__fish_rl_needs_command" -f -a "top" -d 'Show the processes of a running container, in the host\'s numbers'
complete -c rl -n "__fish_rl_needs_command" -f -a "exec" -d 'Run another command in a running container'
complete -c rl -n "__fish_rl_needs_command" -f -a "attach" -d 'Stay with a running container: its output from now on, your input, your signals'
complete -c rl -n "__fish_rl_needs_command" -f -a "rename" -d 'Give a container another name'
complete -c rl -n "__fish_rl_needs_command" -f -a "port" -d 'Show the published ports of a container, or change them while it runs'
complete -c rl -n "__fish_rl_needs_command" -f -a "ps" -d 'List containers'
complete -c rl -n "__fish_rl_needs_command" -f -a "rm" -d 'Remove containers'
complete -c rl -n "__fish_rl_needs_command" -f -a "stats" -d 'Show what running containers use, until interrupted'
complete -c rl -n "__fish_rl_needs_command" -f -a "update" -d 'Change what containers may use, running or not'
complete -c rl -n "__fish_rl_needs_command" -f -a "healthcheck" -d 'Check the health of containers'
complete -c rl -n "__fish_rl_needs_command" -f -a "inspect" -d 'Show everything about containers, images, volumes and networks, as JSON'
complete -c rl -n "__fish_rl_needs_command" -f -a "logs" -d 'Show what a container has printed'
complete -c rl -n "__fish_rl_needs_command" -f -a "images" -d 'List images'
complete -c rl -n "__fish_rl_needs_command" -f -a "rmi" -d 'Remove images'
complete -c rl -n "__fish_rl_needs_command" -f -a "tag" -d 'Give an image another name'
complete -c rl -n "__fish_rl_needs_command" -f -a "history" -d 'Show how an image came about'
complete -c rl -n "__fish_rl_needs_command" -f -a "container" -d 'Manage containers'
complete -c rl -n "__fish_rl_needs_command" -f -a "image" -d 'Manage images'
complete -c rl -n "__fish_rl_needs_command" -f -a "system" -d 'Look after everything that is stored'
complete -c rl -n "__fish_rl_needs_command" -f -a "events" -d 'Show what happens to containers, images and volumes'
complete -c rl -n "__fish_rl_needs_command" -f -a "cp" -d 'Copy files between a container and the host'
complete -c rl -n "__fish_rl_needs_command" -f -a "diff" -d 'Show what a container has changed in its files'
complete -c rl -n "__fish_rl_needs_command" -f -a "export" -d 'Write a container\'s files as a tar archive'
complete -c rl -n "__fish_rl_needs_command" -f -a "volume" -d 'Manage volumes'
complete -c rl -n "__fish_rl_needs_command" -f -a "network" -d 'Manage networks: containers on the same one reach each other by name'
complete -c rl -n "__fish_rl_needs_command" -f -a "unshare" -d 'Run a command of the host as root of the containers\' user namespace'
complete -c rl -n "__fish_rl_needs_command" -f -a "info" -d 'Show what this host has and what was chosen'
complete -c rl -n "__fish_rl_needs_command" -f -a "version" -d 'Show the version'
complete -c rl -n "__fish_rl_needs_command" -f -a "generate" -d 'Print what other programs can use of a container'
complete -c rl -n "__fish_rl_using_subcommand run" -l detach-keys -d 'Keys that leave the container running ("" for none)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l sig-proxy -d 'Pass signals on to the container; --sig-proxy=false leaves it at the first' -r -f -a "true\t''
false\t''"
complete -c rl -n "__fish_rl_using_subcommand run" -l name -d 'Name of the container (default: a pleasant random one)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s e -l env -d 'Set an environment variable; without a value it is taken from here' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l env-file -d 'Read environment variables from a file' -r -F
complete -c rl -n "__fish_rl_using_subcommand run" -s w -l workdir -d 'Working directory in the container; made if missing' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s u -l user -d 'User to run as, by name or number' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l entrypoint -d 'Replace the image\'s entrypoint; "" removes it' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s h -l hostname -d 'Host name in the container (default: its short id)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s l -l label -d 'Attach a label' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s v -l volume -d 'Mount a directory or file of the host, or a named volume (made if missing)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l mount -d 'The same in long form: type=bind|volume|tmpfs,source=…,target=…[,readonly][,…]' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l network -d 'Network: one of yours (rl network create), NAME[:ip=IP,ip6=IP,mac=MAC,alias=NAME], also several; gateway[:host-loopback,tproxy|anyip] for a private one (the default where it works: rl info), the same by pasta[:OPTIONS] or slirp4netns[:OPTIONS], none, host to share the host\'s, or container:NAME to share another container\'s' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s p -l publish -d 'Publish a port of the container on the host; without HOST on a free one' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cidfile -d 'Write the container\'s id to a file, which must not exist yet' -r -F
complete -c rl -n "__fish_rl_using_subcommand run" -l tmpfs -d 'Mount a tmpfs' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l add-host -d 'Add a line to /etc/hosts; NAME:host-gateway names the host, and opens its loopback' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l dns -d 'Name server for /etc/resolv.conf' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l dns-search -d 'Search domain for /etc/resolv.conf instead of the host\'s; . for none' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l dns-option -d 'Option for /etc/resolv.conf instead of the host\'s, such as ndots:2' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l ip -d 'Address on the network of yours' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l ip6 -d 'IPv6 address on the network of yours' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l network-alias -d 'Another name for others on the networks of yours' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l link -d 'Call another container on the networks of yours by a name of your own' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l egress -d 'What the container may reach: deny for nothing but what --egress-allow names. What is refused is refused at once, and noted in rl logs --egress. Containers on the same network of yours reach each other all the same' -r -f -a "deny\t'Nothing but what --egress-allow names'
allow\t'Everything'"
complete -c rl -n "__fish_rl_using_subcommand run" -l egress-allow -d 'Let the container reach this and nothing else: HOST[:PORT], *.DOMAIN[:PORT], or ADDRESS[/BITS][:PORT]. HOST stands for the addresses that name servers give the container for it' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l expose -d 'Say that the container serves this port, for --publish-all' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l ulimit -d 'Set a resource limit' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l shm-size -d 'Size of /dev/shm (default: 64m)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l log-driver -d 'Where a detached container\'s output is kept' -r -f -a "json-file\t'Docker\'s JSON lines, unlimited unless told otherwise'
local\t'Plain lines that keep every byte; five files of 20 MB unless told otherwise'
journald\t'The host\'s journal'
none\t'Nowhere'"
complete -c rl -n "__fish_rl_using_subcommand run" -l log-opt -d 'Option of the log driver: max-size=10m, max-file=3, tag=…, labels=…, env=…' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l stop-signal -d 'Signal that asks the container to end (default: the image\'s, or TERM)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l stop-timeout -d 'Seconds between that signal and SIGKILL (default: 10)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l restart -d 'When to start it again after its end: no, on-failure[:N], always or unless-stopped' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l device -d 'Give the container a device node of the host' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l group-add -d 'Add a supplementary group, by name or number' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l umask -d 'File mode creation mask, in octal (default: 0022)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l pid -d 'PID namespace' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand run" -l ipc -d 'IPC namespace: System V IPC, message queues, /dev/shm' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand run" -l uts -d 'UTS namespace: the host name' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand run" -l cgroupns -d 'Cgroup namespace' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand run" -l cgroups -d 'Whether the container gets a cgroup of its own' -r -f -a "enabled\t'One of its own, where somebody can make it'
disabled\t'None: the container stays in yours'"
complete -c rl -n "__fish_rl_using_subcommand run" -l cgroup-manager -d 'Who makes it (default: systemd, else rl in a cgroup directory of yours, else nobody)' -r -f -a "systemd\t'systemd, in a scope'
cgroupfs\t'rl itself, in a cgroup directory of yours'
none\t'Nobody: the container stays in your own cgroup'"
complete -c rl -n "__fish_rl_using_subcommand run" -l cgroup-parent -d 'The slice to make it in, or the directory below your own' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cgroup-conf -d 'Write a file of the container\'s cgroup, such as memory.high=1073741824' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l oom-score-adj -d 'How soon the kernel kills it when memory is short: up to 1000 is sooner; less than your own score is not yours to give' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l sdnotify -d 'Who tells systemd that the container is ready, where NOTIFY_SOCKET is set (default: container)' -r -f -a "container\t'The payload itself, to whom NOTIFY_SOCKET is passed on (the default)'
conmon\t'rl, as soon as the payload runs'
ignore\t'Nobody'"
complete -c rl -n "__fish_rl_using_subcommand run" -s m -l memory -d 'Memory limit' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l memory-reservation -d 'Memory that is kept for the container when memory is short' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l memory-swap -d 'Limit of memory and swap together; -1: any amount of swap (default: twice the memory)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpus -d 'Number of CPUs, such as 1.5' -r
complete -c rl -n "__fish_rl_using_subcommand run" -s c -l cpu-shares -d 'CPU time relative to others (1024 is everybody\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpu-quota -d 'Microseconds of CPU time in each period; -1: no limit' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpu-period -d 'Length of a period of CPU time (default: 100000)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpuset-cpus -d 'CPUs to run on, such as 0-3,6' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpuset-mems -d 'Memory nodes to use' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l pids-limit -d 'Number of processes and threads; -1: no limit (default: 2048)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l blkio-weight -d 'Share of the block devices\' time relative to others, 10 to 1000; 0: no share of its own' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l blkio-weight-device -d 'The same for one device' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l device-read-bps -d 'Bytes a second that may be read from a device' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l device-write-bps -d 'Bytes a second that may be written to a device' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l device-read-iops -d 'Read operations a second on a device' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l device-write-iops -d 'Write operations a second on a device' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l kernel-memory -r
complete -c rl -n "__fish_rl_using_subcommand run" -l memory-swappiness -r
complete -c rl -n "__fish_rl_using_subcommand run" -l oom-kill-disable -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpu-rt-period -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cpu-rt-runtime -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-cmd -d 'Command that tells by exit code 0 that the container is healthy, for its shell or as a JSON list; "none" for no check' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-interval -d 'Time between two checks (default: 30s)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-timeout -d 'Time after which a check has failed and is killed (default: 30s)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-retries -d 'Failures in a row that make it unhealthy (default: 3)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-start-period -d 'Time after the start in which failures do not count (default: 0s)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-start-interval -d 'Time between two checks in the start period (default: 5s)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l health-on-failure -d 'What to do with it once it is unhealthy (default: none)' -r -f -a "none\t'Nothing'
kill\t'SIGKILL; its restart policy says what follows'
restart\t'Stop it and start it again'
stop\t'Stop it'"
complete -c rl -n "__fish_rl_using_subcommand run" -l systemd -d 'Prepare for systemd as the command: a cgroup of its own to divide, tmpfs on /run and /tmp, SIGRTMIN+3 to stop' -r -f -a "true\t'When the command is an init system\'s'
false\t''
always\t''"
complete -c rl -n "__fish_rl_using_subcommand run" -l cap-add -d 'Add a capability, or ALL' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l userns -d 'Who is who: host-user (you are root inside) or keep-id[:uid=N,gid=N] (you keep your own number inside)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l pull -d 'When to ask the registry for the image: always, missing, never, or newer' -r -f -a "always\t'Every time; only what has changed is downloaded'
missing\t'When the image is not at hand'
never\t'Never'
newer\t'Every time, but what is at hand will do where the registry cannot be reached'"
complete -c rl -n "__fish_rl_using_subcommand run" -l platform -d 'The platform of the image, where its registry has several (default: this host\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand run" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand run" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand run" -s d -l detach -d 'Leave it running in the background and print its id'
complete -c rl -n "__fish_rl_using_subcommand run" -s i -l interactive -d 'Keep stdin open'
complete -c rl -n "__fish_rl_using_subcommand run" -s t -l tty -d 'Give the container a terminal of its own'
complete -c rl -n "__fish_rl_using_subcommand run" -l rm -d 'Remove the container and its anonymous volumes when it ends'
complete -c rl -n "__fish_rl_using_subcommand run" -l init -d 'Run a reaper as PID 1 that forwards signals and collects orphans'
complete -c rl -n "__fish_rl_using_subcommand run" -l read-only -d 'Make the container\'s root file system read-only'
complete -c rl -n "__fish_rl_using_subcommand run" -s q -l quiet -d 'Say nothing of a pull'
complete -c rl -n "__fish_rl_using_subcommand run" -l egress-log -d 'Note in rl logs --egress what is let out, too'
complete -c rl -n "__fish_rl_using_subcommand run" -s P -l publish-all -d 'Publish every port that the image or --expose names, on free ports'
complete -c rl -n "__fish_rl_using_subcommand run" -l no-healthcheck -d 'Do without the image\'s check'
complete -c rl -n "__fish_rl_using_subcommand run" -l privileged -d 'All capabilities within the container\'s user namespace and nothing hidden in /proc and /sys. On the host the container is still only you'
complete -c rl -n "__fish_rl_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand pull" -l platform -d 'The platform of the image (default: this host\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand pull" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand pull" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand pull" -s q -l quiet -d 'Print only the image\'s id'
complete -c rl -n "__fish_rl_using_subcommand pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand create" -l name -d 'Name of the container (default: a pleasant random one)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s e -l env -d 'Set an environment variable; without a value it is taken from here' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l env-file -d 'Read environment variables from a file' -r -F
complete -c rl -n "__fish_rl_using_subcommand create" -s w -l workdir -d 'Working directory in the container; made if missing' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s u -l user -d 'User to run as, by name or number' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l entrypoint -d 'Replace the image\'s entrypoint; "" removes it' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s h -l hostname -d 'Host name in the container (default: its short id)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s l -l label -d 'Attach a label' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s v -l volume -d 'Mount a directory or file of the host, or a named volume (made if missing)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l mount -d 'The same in long form: type=bind|volume|tmpfs,source=…,target=…[,readonly][,…]' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l network -d 'Network: one of yours (rl network create), NAME[:ip=IP,ip6=IP,mac=MAC,alias=NAME], also several; gateway[:host-loopback,tproxy|anyip] for a private one (the default where it works: rl info), the same by pasta[:OPTIONS] or slirp4netns[:OPTIONS], none, host to share the host\'s, or container:NAME to share another container\'s' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s p -l publish -d 'Publish a port of the container on the host; without HOST on a free one' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cidfile -d 'Write the container\'s id to a file, which must not exist yet' -r -F
complete -c rl -n "__fish_rl_using_subcommand create" -l tmpfs -d 'Mount a tmpfs' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l add-host -d 'Add a line to /etc/hosts; NAME:host-gateway names the host, and opens its loopback' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l dns -d 'Name server for /etc/resolv.conf' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l dns-search -d 'Search domain for /etc/resolv.conf instead of the host\'s; . for none' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l dns-option -d 'Option for /etc/resolv.conf instead of the host\'s, such as ndots:2' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l ip -d 'Address on the network of yours' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l ip6 -d 'IPv6 address on the network of yours' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l network-alias -d 'Another name for others on the networks of yours' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l link -d 'Call another container on the networks of yours by a name of your own' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l egress -d 'What the container may reach: deny for nothing but what --egress-allow names. What is refused is refused at once, and noted in rl logs --egress. Containers on the same network of yours reach each other all the same' -r -f -a "deny\t'Nothing but what --egress-allow names'
allow\t'Everything'"
complete -c rl -n "__fish_rl_using_subcommand create" -l egress-allow -d 'Let the container reach this and nothing else: HOST[:PORT], *.DOMAIN[:PORT], or ADDRESS[/BITS][:PORT]. HOST stands for the addresses that name servers give the container for it' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l expose -d 'Say that the container serves this port, for --publish-all' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l ulimit -d 'Set a resource limit' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l shm-size -d 'Size of /dev/shm (default: 64m)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l log-driver -d 'Where a detached container\'s output is kept' -r -f -a "json-file\t'Docker\'s JSON lines, unlimited unless told otherwise'
local\t'Plain lines that keep every byte; five files of 20 MB unless told otherwise'
journald\t'The host\'s journal'
none\t'Nowhere'"
complete -c rl -n "__fish_rl_using_subcommand create" -l log-opt -d 'Option of the log driver: max-size=10m, max-file=3, tag=…, labels=…, env=…' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l stop-signal -d 'Signal that asks the container to end (default: the image\'s, or TERM)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l stop-timeout -d 'Seconds between that signal and SIGKILL (default: 10)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l restart -d 'When to start it again after its end: no, on-failure[:N], always or unless-stopped' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l device -d 'Give the container a device node of the host' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l group-add -d 'Add a supplementary group, by name or number' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l umask -d 'File mode creation mask, in octal (default: 0022)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l pid -d 'PID namespace' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand create" -l ipc -d 'IPC namespace: System V IPC, message queues, /dev/shm' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand create" -l uts -d 'UTS namespace: the host name' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand create" -l cgroupns -d 'Cgroup namespace' -r -f -a "private\t'A namespace of the container\'s own'
host\t'The host\'s'"
complete -c rl -n "__fish_rl_using_subcommand create" -l cgroups -d 'Whether the container gets a cgroup of its own' -r -f -a "enabled\t'One of its own, where somebody can make it'
disabled\t'None: the container stays in yours'"
complete -c rl -n "__fish_rl_using_subcommand create" -l cgroup-manager -d 'Who makes it (default: systemd, else rl in a cgroup directory of yours, else nobody)' -r -f -a "systemd\t'systemd, in a scope'
cgroupfs\t'rl itself, in a cgroup directory of yours'
none\t'Nobody: the container stays in your own cgroup'"
complete -c rl -n "__fish_rl_using_subcommand create" -l cgroup-parent -d 'The slice to make it in, or the directory below your own' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cgroup-conf -d 'Write a file of the container\'s cgroup, such as memory.high=1073741824' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l oom-score-adj -d 'How soon the kernel kills it when memory is short: up to 1000 is sooner; less than your own score is not yours to give' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l sdnotify -d 'Who tells systemd that the container is ready, where NOTIFY_SOCKET is set (default: container)' -r -f -a "container\t'The payload itself, to whom NOTIFY_SOCKET is passed on (the default)'
conmon\t'rl, as soon as the payload runs'
ignore\t'Nobody'"
complete -c rl -n "__fish_rl_using_subcommand create" -s m -l memory -d 'Memory limit' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l memory-reservation -d 'Memory that is kept for the container when memory is short' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l memory-swap -d 'Limit of memory and swap together; -1: any amount of swap (default: twice the memory)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpus -d 'Number of CPUs, such as 1.5' -r
complete -c rl -n "__fish_rl_using_subcommand create" -s c -l cpu-shares -d 'CPU time relative to others (1024 is everybody\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpu-quota -d 'Microseconds of CPU time in each period; -1: no limit' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpu-period -d 'Length of a period of CPU time (default: 100000)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpuset-cpus -d 'CPUs to run on, such as 0-3,6' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpuset-mems -d 'Memory nodes to use' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l pids-limit -d 'Number of processes and threads; -1: no limit (default: 2048)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l blkio-weight -d 'Share of the block devices\' time relative to others, 10 to 1000; 0: no share of its own' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l blkio-weight-device -d 'The same for one device' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l device-read-bps -d 'Bytes a second that may be read from a device' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l device-write-bps -d 'Bytes a second that may be written to a device' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l device-read-iops -d 'Read operations a second on a device' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l device-write-iops -d 'Write operations a second on a device' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l kernel-memory -r
complete -c rl -n "__fish_rl_using_subcommand create" -l memory-swappiness -r
complete -c rl -n "__fish_rl_using_subcommand create" -l oom-kill-disable -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpu-rt-period -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cpu-rt-runtime -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-cmd -d 'Command that tells by exit code 0 that the container is healthy, for its shell or as a JSON list; "none" for no check' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-interval -d 'Time between two checks (default: 30s)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-timeout -d 'Time after which a check has failed and is killed (default: 30s)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-retries -d 'Failures in a row that make it unhealthy (default: 3)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-start-period -d 'Time after the start in which failures do not count (default: 0s)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-start-interval -d 'Time between two checks in the start period (default: 5s)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l health-on-failure -d 'What to do with it once it is unhealthy (default: none)' -r -f -a "none\t'Nothing'
kill\t'SIGKILL; its restart policy says what follows'
restart\t'Stop it and start it again'
stop\t'Stop it'"
complete -c rl -n "__fish_rl_using_subcommand create" -l systemd -d 'Prepare for systemd as the command: a cgroup of its own to divide, tmpfs on /run and /tmp, SIGRTMIN+3 to stop' -r -f -a "true\t'When the command is an init system\'s'
false\t''
always\t''"
complete -c rl -n "__fish_rl_using_subcommand create" -l cap-add -d 'Add a capability, or ALL' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l userns -d 'Who is who: host-user (you are root inside) or keep-id[:uid=N,gid=N] (you keep your own number inside)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l pull -d 'When to ask the registry for the image: always, missing, never, or newer' -r -f -a "always\t'Every time; only what has changed is downloaded'
missing\t'When the image is not at hand'
never\t'Never'
newer\t'Every time, but what is at hand will do where the registry cannot be reached'"
complete -c rl -n "__fish_rl_using_subcommand create" -l platform -d 'The platform of the image, where its registry has several (default: this host\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand create" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand create" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand create" -s i -l interactive -d 'Keep stdin open'
complete -c rl -n "__fish_rl_using_subcommand create" -s t -l tty -d 'Give the container a terminal of its own'
complete -c rl -n "__fish_rl_using_subcommand create" -l rm -d 'Remove the container and its anonymous volumes when it ends'
complete -c rl -n "__fish_rl_using_subcommand create" -l init -d 'Run a reaper as PID 1 that forwards signals and collects orphans'
complete -c rl -n "__fish_rl_using_subcommand create" -l read-only -d 'Make the container\'s root file system read-only'
complete -c rl -n "__fish_rl_using_subcommand create" -s q -l quiet -d 'Say nothing of a pull'
complete -c rl -n "__fish_rl_using_subcommand create" -l egress-log -d 'Note in rl logs --egress what is let out, too'
complete -c rl -n "__fish_rl_using_subcommand create" -s P -l publish-all -d 'Publish every port that the image or --expose names, on free ports'
complete -c rl -n "__fish_rl_using_subcommand create" -l no-healthcheck -d 'Do without the image\'s check'
complete -c rl -n "__fish_rl_using_subcommand create" -l privileged -d 'All capabilities within the container\'s user namespace and nothing hidden in /proc and /sys. On the host the container is still only you'
complete -c rl -n "__fish_rl_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand start" -l detach-keys -d 'Keys that leave the container running ("" for none)' -r
complete -c rl -n "__fish_rl_using_subcommand start" -l sig-proxy -d 'Pass signals on to the container; --sig-proxy=false leaves it at the first' -r -f -a "true\t''
false\t''"
complete -c rl -n "__fish_rl_using_subcommand start" -s f -l filter -d 'Of all only those for which it is so: id, name, label, status, restart-policy, should-start-on-boot' -r
complete -c rl -n "__fish_rl_using_subcommand start" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand start" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand start" -s a -l attach -d 'Stay with it: show its output, pass signals on, end with its exit code'
complete -c rl -n "__fish_rl_using_subcommand start" -s i -l interactive -d 'Give it this input too'
complete -c rl -n "__fish_rl_using_subcommand start" -l all -d 'Start all that do not run'
complete -c rl -n "__fish_rl_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand stop" -s t -l time -l timeout -d 'Seconds between the two (default: the container\'s, or 10); -1 waits for ever' -r
complete -c rl -n "__fish_rl_using_subcommand stop" -s s -l signal -d 'Another signal to begin with' -r
complete -c rl -n "__fish_rl_using_subcommand stop" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand stop" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand restart" -s t -l time -l timeout -d 'Seconds between the stop signal and SIGKILL (default: the container\'s, or 10); -1 waits for ever' -r
complete -c rl -n "__fish_rl_using_subcommand restart" -s s -l signal -d 'Another signal to stop them with' -r
complete -c rl -n "__fish_rl_using_subcommand restart" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand restart" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand kill" -s s -l signal -d 'Which, by name or number' -r
complete -c rl -n "__fish_rl_using_subcommand kill" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand kill" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand kill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand pause" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand pause" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand unpause" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand unpause" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand unpause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand wait" -l condition -d 'What to wait for' -r -f -a "not-running\t'That it does not run, now or later'
next-exit\t'The next time that it ends'
removed\t'That it is removed'"
complete -c rl -n "__fish_rl_using_subcommand wait" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand wait" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand top" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand top" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand exec" -s u -l user -d 'User to run as, by name or number (default: the container\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand exec" -s w -l workdir -d 'Working directory (default: the container\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand exec" -s e -l env -d 'Set an environment variable; without a value it is taken from here' -r
complete -c rl -n "__fish_rl_using_subcommand exec" -l env-file -d 'Read environment variables from a file' -r -F
complete -c rl -n "__fish_rl_using_subcommand exec" -l detach-keys -d 'Keys that leave it running ("" for none)' -r
complete -c rl -n "__fish_rl_using_subcommand exec" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand exec" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand exec" -s d -l detach -d 'Leave it running in the background'
complete -c rl -n "__fish_rl_using_subcommand exec" -s i -l interactive -d 'Keep stdin open'
complete -c rl -n "__fish_rl_using_subcommand exec" -s t -l tty -d 'Give it a terminal of its own'
complete -c rl -n "__fish_rl_using_subcommand exec" -l privileged -d 'All capabilities within the container\'s user namespace'
complete -c rl -n "__fish_rl_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand attach" -l detach-keys -d 'Keys that leave the container running ("" for none)' -r
complete -c rl -n "__fish_rl_using_subcommand attach" -l sig-proxy -d 'Pass signals on to the container; --sig-proxy=false leaves it at the first' -r -f -a "true\t''
false\t''"
complete -c rl -n "__fish_rl_using_subcommand attach" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand attach" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand attach" -l no-stdin -d 'Leave your input out'
complete -c rl -n "__fish_rl_using_subcommand attach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand rename" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand rename" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand rename" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand port; and not __fish_seen_subcommand_from add rm" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand port; and not __fish_seen_subcommand_from add rm" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand port; and not __fish_seen_subcommand_from add rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand port; and not __fish_seen_subcommand_from add rm" -a "add" -d 'Publish further ports of a running container'
complete -c rl -n "__fish_rl_using_subcommand port; and not __fish_seen_subcommand_from add rm" -a "rm" -d 'Publish ports of a running container no longer; connections that there are stay'
complete -c rl -n "__fish_rl_using_subcommand port; and __fish_seen_subcommand_from add" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand port; and __fish_seen_subcommand_from add" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand port; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand port; and __fish_seen_subcommand_from rm" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand port; and __fish_seen_subcommand_from rm" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand port; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand ps" -s n -l last -d 'Show the N newest, whatever their state' -r
complete -c rl -n "__fish_rl_using_subcommand ps" -s f -l filter -d 'Only those for which it is so: id, name, label, exited, status, ancestor, before, since, volume, network, health, publish, expose' -r
complete -c rl -n "__fish_rl_using_subcommand ps" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand ps" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand ps" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand ps" -s a -l all -d 'Show all, not only running ones'
complete -c rl -n "__fish_rl_using_subcommand ps" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand ps" -s l -l latest -d 'Show the newest one, whatever its state'
complete -c rl -n "__fish_rl_using_subcommand ps" -l no-trunc -d 'Print ids, commands and images in full'
complete -c rl -n "__fish_rl_using_subcommand ps" -s s -l size -d 'Show how much disk each takes: what it has written, and in all'
complete -c rl -n "__fish_rl_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand rm" -l filter -d 'All for which it is so, as with rl ps -a' -r
complete -c rl -n "__fish_rl_using_subcommand rm" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand rm" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand rm" -s f -l force -d 'Kill a running container first; no error where there is none'
complete -c rl -n "__fish_rl_using_subcommand rm" -s v -l volumes -d 'Remove its anonymous volumes too'
complete -c rl -n "__fish_rl_using_subcommand rm" -s a -l all -d 'All of them'
complete -c rl -n "__fish_rl_using_subcommand rm" -s l -l latest -d 'The newest one'
complete -c rl -n "__fish_rl_using_subcommand rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand stats" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand stats" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand stats" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand stats" -s a -l all -d 'Show containers that do not run too'
complete -c rl -n "__fish_rl_using_subcommand stats" -l no-stream -d 'Show it once'
complete -c rl -n "__fish_rl_using_subcommand stats" -l no-trunc -d 'Do not shorten ids'
complete -c rl -n "__fish_rl_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand update" -s m -l memory -d 'Memory limit' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l memory-reservation -d 'Memory that is kept for the container when memory is short' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l memory-swap -d 'Limit of memory and swap together; -1: any amount of swap (default: twice the memory)' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpus -d 'Number of CPUs, such as 1.5' -r
complete -c rl -n "__fish_rl_using_subcommand update" -s c -l cpu-shares -d 'CPU time relative to others (1024 is everybody\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpu-quota -d 'Microseconds of CPU time in each period; -1: no limit' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpu-period -d 'Length of a period of CPU time (default: 100000)' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpuset-cpus -d 'CPUs to run on, such as 0-3,6' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpuset-mems -d 'Memory nodes to use' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l pids-limit -d 'Number of processes and threads; -1: no limit (default: 2048)' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l blkio-weight -d 'Share of the block devices\' time relative to others, 10 to 1000; 0: no share of its own' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l blkio-weight-device -d 'The same for one device' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l device-read-bps -d 'Bytes a second that may be read from a device' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l device-write-bps -d 'Bytes a second that may be written to a device' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l device-read-iops -d 'Read operations a second on a device' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l device-write-iops -d 'Write operations a second on a device' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l kernel-memory -r
complete -c rl -n "__fish_rl_using_subcommand update" -l memory-swappiness -r
complete -c rl -n "__fish_rl_using_subcommand update" -l oom-kill-disable -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpu-rt-period -r
complete -c rl -n "__fish_rl_using_subcommand update" -l cpu-rt-runtime -r
complete -c rl -n "__fish_rl_using_subcommand update" -l restart -d 'When to start it again after its end: no, on-failure[:N], always, unless-stopped' -r
complete -c rl -n "__fish_rl_using_subcommand update" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand update" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -f -a "run" -d 'Run a container\'s health check now; exits 0 when it passes, 1 when it fails, 125 when it cannot be run'
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and __fish_seen_subcommand_from run" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and __fish_seen_subcommand_from run" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand healthcheck; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand inspect" -l type -d 'Only objects of this kind (without it: a container, else an image, else a volume, else a network)' -r -f -a "container\t''
image\t''
volume\t''
network\t''"
complete -c rl -n "__fish_rl_using_subcommand inspect" -s f -l format -d 'Print by a Go template, or `json` for JSON in one line' -r
complete -c rl -n "__fish_rl_using_subcommand inspect" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand inspect" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand inspect" -s s -l size -d 'Of containers, how much disk they take too'
complete -c rl -n "__fish_rl_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand logs" -s n -l tail -d 'The last N lines only, or all' -r
complete -c rl -n "__fish_rl_using_subcommand logs" -l since -d 'From this time on: 2026-01-31T12:00:00Z, Unix seconds, or how long ago: 10m' -r
complete -c rl -n "__fish_rl_using_subcommand logs" -l until -d 'Up to this time' -r
complete -c rl -n "__fish_rl_using_subcommand logs" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand logs" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand logs" -s f -l follow -d 'Go on with what it prints from now on'
complete -c rl -n "__fish_rl_using_subcommand logs" -s t -l timestamps -d 'Show when each line was printed'
complete -c rl -n "__fish_rl_using_subcommand logs" -l details -d 'Show the tag, labels and variables that --log-opt asked for'
complete -c rl -n "__fish_rl_using_subcommand logs" -l egress -d 'Show what the container has reached or was refused, as --egress has it noted: when, allow or deny, protocol, destination, name'
complete -c rl -n "__fish_rl_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand images" -s f -l filter -d 'Only those for which it is so: dangling=true, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME' -r
complete -c rl -n "__fish_rl_using_subcommand images" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand images" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand images" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand images" -s a -l all -d 'Show those without a name and a tag too that only others are built on (here there are none)'
complete -c rl -n "__fish_rl_using_subcommand images" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand images" -l no-trunc -d 'Print ids in full'
complete -c rl -n "__fish_rl_using_subcommand images" -l digests -d 'Show digests'
complete -c rl -n "__fish_rl_using_subcommand images" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand rmi" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand rmi" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand rmi" -s f -l force -d 'Even if it has several names or a stopped container uses it; no error where there is none'
complete -c rl -n "__fish_rl_using_subcommand rmi" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand tag" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand tag" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand tag" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand history" -s H -l human -d 'Sizes and times for people (--human=false: bytes and RFC 3339)' -r -f -a "true\t''
false\t''"
complete -c rl -n "__fish_rl_using_subcommand history" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand history" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand history" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand history" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand history" -l no-trunc -d 'Print commands and ids in full'
complete -c rl -n "__fish_rl_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand container; and not __fish_seen_subcommand_from exists prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand container; and not __fish_seen_subcommand_from exists prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand container; and not __fish_seen_subcommand_from exists prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand container; and not __fish_seen_subcommand_from exists prune" -f -a "exists" -d 'Exit with 0 where there is such a container, else with 1'
complete -c rl -n "__fish_rl_using_subcommand container; and not __fish_seen_subcommand_from exists prune" -f -a "prune" -d 'Remove all containers that do not run'
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from exists" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from exists" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from exists" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from prune" -l filter -d 'Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]' -r
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c rl -n "__fish_rl_using_subcommand container; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "ls" -d 'List images'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "list" -d 'List images'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "rm" -d 'Remove images'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "remove" -d 'Remove images'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "pull" -d 'Download images from registries'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "tag" -d 'Give an image another name'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "history" -d 'Show how an image came about'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "inspect" -d 'Show everything about images, as JSON'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "exists" -d 'Exit with 0 where the image is in the store, else with 1'
complete -c rl -n "__fish_rl_using_subcommand image; and not __fish_seen_subcommand_from ls list rm remove pull tag history inspect exists prune" -f -a "prune" -d 'Remove images that have no name, and what nothing needs'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -s f -l filter -d 'Only those for which it is so: dangling=true, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -s a -l all -d 'Show those without a name and a tag too that only others are built on (here there are none)'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -l no-trunc -d 'Print ids in full'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -l digests -d 'Show digests'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -s f -l filter -d 'Only those for which it is so: dangling=true, reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -s a -l all -d 'Show those without a name and a tag too that only others are built on (here there are none)'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -l no-trunc -d 'Print ids in full'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -l digests -d 'Show digests'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from rm" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from rm" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from rm" -s f -l force -d 'Even if it has several names or a stopped container uses it; no error where there is none'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from remove" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from remove" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from remove" -s f -l force -d 'Even if it has several names or a stopped container uses it; no error where there is none'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from pull" -l platform -d 'The platform of the image (default: this host\'s)' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from pull" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from pull" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from pull" -s q -l quiet -d 'Print only the image\'s id'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from tag" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from tag" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from tag" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -s H -l human -d 'Sizes and times for people (--human=false: bytes and RFC 3339)' -r -f -a "true\t''
false\t''"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -l no-trunc -d 'Print commands and ids in full'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from inspect" -s f -l format -d 'Print by a Go template, or `json` for JSON in one line' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from inspect" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from inspect" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from exists" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from exists" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from exists" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from prune" -l filter -d 'Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]' -r
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from prune" -s a -l all -d 'All that no container uses, and what archives left in the store'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c rl -n "__fish_rl_using_subcommand image; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -f -a "df" -d 'Show how much disk is used, and how much of it for nothing'
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -f -a "check" -d 'Find out whether what is stored is as it should be'
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -f -a "prune" -d 'Remove stopped containers, networks that no container uses, images without a name, and what nothing needs'
complete -c rl -n "__fish_rl_using_subcommand system; and not __fish_seen_subcommand_from df check prune reset" -f -a "reset" -d 'Remove everything: containers, images, volumes, networks'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from df" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from df" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from df" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from df" -s v -l verbose -d 'Show each image, container and volume'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from df" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from check" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from check" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from check" -s r -l repair -d 'Remove what is damaged, so that it can be pulled or made again'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from check" -s q -l quick -d 'Do not read the blobs'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -l filter -d 'Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]' -r
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -s a -l all -d 'All images that no container uses, not only those without a name'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -l volumes -d 'Anonymous volumes that no container uses too'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from reset" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from reset" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from reset" -s f -l force -d 'Do not ask; kill what is running'
complete -c rl -n "__fish_rl_using_subcommand system; and __fish_seen_subcommand_from reset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand events" -l since -d 'Begin with what has happened since this time: 2026-01-31T12:00:00Z, Unix seconds, or how long ago: 10m' -r
complete -c rl -n "__fish_rl_using_subcommand events" -l until -d 'End at this time; one that is past shows what is known and waits for nothing' -r
complete -c rl -n "__fish_rl_using_subcommand events" -s f -l filter -d 'Only those for which it is so: container, event, image, label, type, volume, network' -r
complete -c rl -n "__fish_rl_using_subcommand events" -l format -d 'Print by a Go template, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand events" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand events" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand cp" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand cp" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand cp" -s a -l archive -d 'Keep owners and groups, by their numbers'
complete -c rl -n "__fish_rl_using_subcommand cp" -s L -l follow-link -d 'Copy what a symlink names, where the source is one'
complete -c rl -n "__fish_rl_using_subcommand cp" -s q -l quiet -d 'Say nothing'
complete -c rl -n "__fish_rl_using_subcommand cp" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand diff" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand diff" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand diff" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand export" -s o -l output -d 'Write to this file (default: stdout)' -r -F
complete -c rl -n "__fish_rl_using_subcommand export" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand export" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "create" -d 'Create a volume'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "exists" -d 'Exit with 0 where there is such a volume, else with 1'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "ls" -d 'List volumes'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "list" -d 'List volumes'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "inspect" -d 'Show volumes, as JSON'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "rm" -d 'Remove volumes'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "remove" -d 'Remove volumes'
complete -c rl -n "__fish_rl_using_subcommand volume; and not __fish_seen_subcommand_from create exists ls list inspect rm remove prune" -f -a "prune" -d 'Remove anonymous volumes that no container uses'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from create" -s l -l label -d 'Attach a label' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from create" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from create" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from exists" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from exists" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from exists" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from ls" -s f -l filter -d 'Only those for which it is so: dangling, driver, label, name' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from ls" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from ls" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from ls" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print names only'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from list" -s f -l filter -d 'Only those for which it is so: dangling, driver, label, name' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from list" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from list" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from list" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print names only'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s f -l format -d 'Print by a Go template, or `json` for JSON in one line' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from inspect" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from rm" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from rm" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from rm" -s f -l force -d 'No error where there is none'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from remove" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from remove" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from remove" -s f -l force -d 'No error where there is none'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from prune" -l filter -d 'Only those for which it is so: label=KEY[=VALUE], label!=KEY[=VALUE], all=1 for named ones too' -r
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from prune" -s a -l all -d 'Named ones too'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c rl -n "__fish_rl_using_subcommand volume; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "create" -d 'Create a network'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "exists" -d 'Exit with 0 where there is such a network, else with 1'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "ls" -d 'List networks'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "list" -d 'List networks'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "inspect" -d 'Show networks, as JSON'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "rm" -d 'Remove networks'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "remove" -d 'Remove networks'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "connect" -d 'Put a container on one more network'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "disconnect" -d 'Take a container off a network'
complete -c rl -n "__fish_rl_using_subcommand network; and not __fish_seen_subcommand_from create exists ls list inspect rm remove connect disconnect prune" -f -a "prune" -d 'Remove networks that no container uses'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l subnet -d 'Its addresses, one for each family (default: the first free of 10.89.0.0/24, 10.89.1.0/24, …)' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l gateway -d 'Where the rest of the world is reached and names are asked for (default: the first address of the subnet)' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l ip-range -d 'Give containers addresses of this part of the subnet only' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l label -d 'Attach a label' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -s o -l opt -d 'mtu=BYTES for the links; method=tproxy or anyip for its gateway, instead of the first that works' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -s d -l driver -d 'What makes it: bridge' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l internal -d 'Let containers reach only one another'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l ipv6 -d 'IPv6 as well'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -l ignore -d 'No error where there is one of that name'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from exists" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from exists" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from exists" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -s f -l filter -d 'Only those for which it is so: dangling, driver, id, label, name, scope, type' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -l no-trunc -d 'Print ids in full'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -s f -l filter -d 'Only those for which it is so: dangling, driver, id, label, name, scope, type' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -l format -d 'Print by a Go template, `table TEMPLATE`, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print ids only'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -l no-trunc -d 'Print ids in full'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from inspect" -s f -l format -d 'Print by a Go template, or `json` for JSON in one line' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from inspect" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from inspect" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from rm" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from rm" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from rm" -s f -l force -d 'No error where there is none'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from remove" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from remove" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from remove" -s f -l force -d 'No error where there is none'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l ip -d 'Its address there' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l ip6 -d 'Its IPv6 address there' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l mac-address -d 'Its MAC address there' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l alias -d 'Another name for others there' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l link -d 'Call another container by a name of its own; of a container that does not run' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from connect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from disconnect" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from disconnect" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from disconnect" -s f -l force -d 'No error where it is not on it'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from disconnect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from prune" -l filter -d 'Only those for which it is so: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]' -r
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from prune" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from prune" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c rl -n "__fish_rl_using_subcommand network; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand unshare" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand unshare" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand unshare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand info" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand info" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand info" -l json -d 'Print JSON'
complete -c rl -n "__fish_rl_using_subcommand info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand version" -s f -l format -d 'Print by a Go template, or `json`' -r
complete -c rl -n "__fish_rl_using_subcommand version" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand version" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand version" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand generate; and not __fish_seen_subcommand_from systemd" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand generate; and not __fish_seen_subcommand_from systemd" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand generate; and not __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rl -n "__fish_rl_using_subcommand generate; and not __fish_seen_subcommand_from systemd" -a "systemd" -d 'Print a systemd unit that runs a container as a service'
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l restart-policy -d 'When systemd is to start it again' -r -f -a "no\t''
on-success\t''
on-failure\t''
on-abnormal\t''
on-watchdog\t''
on-abort\t''
always\t''"
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s t -l time -l stop-timeout -d 'Seconds that it has to end (default: the container\'s, or 10)' -r
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l root -d 'Keep images, containers and volumes in this directory' -r -F
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l log-level -d 'What to tell on stderr: debug explains decisions' -r -f -a "warn\t'Errors and warnings'
debug\t'And why something was decided so'"
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s n -l name -d 'Call the container by its name instead of its id'
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l new -d 'Make the container anew at each start, by the command it was made with, and remove it at each stop'
complete -c rl -n "__fish_rl_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
