// Arguments that make no sense: a message that names the option, exit code 2.
import t from 'tap'

import { jsonLines, run } from './cli-process.js'

const kCommands = ['serve', 'receive', 'send', 'status', 'pause', 'resume', 'switchover', 'cancel', 'set', 'redirect', 'probe']
const kRedirect = [
  'redirect', '--role', 'old', '--address', '10.0.0.9', '--device', 'nowhere', '--local', '10.0.0.1',
  '--remote', '10.1.0.1', '--tunnel'
]
const kSend = ['send', '--disk', 'a=b', '--to', '127.0.0.1:1']

t.test('--help explains every command', async (t) => {
  const general = await run(t, '--help')
  t.equal(general.code, 0)
  for (const command of kCommands) {
    t.match(general.stdout, new RegExp(`^  ${command} `, 'm'), `the list has ${command}`)
    const { code, stdout, stderr } = await run(t, command, '--help')
    t.equal(code, 0)
    t.ok(stdout.startsWith(`Usage: blockferry ${command} `), `${command} --help`)
    t.equal(stderr, '')
    t.ok(stdout.split('\n').every((line) => line.length <= 100), 'no line is too wide')
  }
})

t.test('--version', async (t) => {
  t.match((await run(t, '--version')).stdout, /^\d+\.\d+\.\d+/)
})

t.test('nonsense is named', async (t) => {
  const cases: Array<[string[], RegExp]> = [
    [[], /a command is needed/],
    [['fly'], /fly: no such command/],
    [['--fly'], /--fly: no such option/],
    [['serve', '--fly'], /'--fly'/],
    [['serve', 'extra'], /extra/],
    [['serve', '--listen', 'unix:x'], /--disk: is needed/],
    [['serve', '--disk', 'a=b'], /--listen: is needed/],
    [['serve', '--disk', 'a', '--listen', 'unix:x'], /--disk: a is no NAME=PATH/],
    [['serve', '--disk', '=b', '--listen', 'unix:x'], /--disk: =b is no NAME=PATH/],
    [['serve', '--disk', 'a=', '--listen', 'unix:x'], /--disk: a= is no NAME=PATH/],
    [['serve', '--disk', 'a=b', '--disk', 'a=c', '--listen', 'unix:x'], /--disk: a is named twice/],
    [['serve', '--disk', 'a=b', '--listen', 'x'], /--listen: x is no unix:PATH or tcp:HOST:PORT/],
    [['serve', '--disk', 'a=b', '--listen', 'tcp:x:99999'], /--listen: x:99999 is no/],
    [['serve', '--disk'], /--disk/],
    [['serve', '--disk', 'a=b', '--listen', 'unix:x', '--size', '512'], /--size: 512 is no NAME=PATH/],
    [['serve', '--disk', 'a=b', '--listen', 'unix:x', '--size', 'c=512'], /--size: c is no disk here/],
    [['serve', '--disk', 'a=b', '--listen', 'unix:x', '--size', 'a=1000'], /--size: 1000 bytes is no positive/],
    [['send', '--control', 'x', '--size', 'a=512', '--to', '127.0.0.1:1'], /--size: does not go with --control/],
    [['receive', '--disk', 'a=b'], /--listen: is needed/],
    [['receive', '--disk', 'a=b', '--listen', '1'], /--listen: 1 is no HOST:PORT/],
    [['receive', '--listen', '127.0.0.1:0'], /--disk or --control: one of them is needed/],
    [['receive', '--disk', 'a=b', '--listen', '127.0.0.1:0', '--serve', 'x'], /--serve: x is no unix:PATH/],
    [['receive', '--control', 'x', '--listen', '127.0.0.1:0', '--direct'], /--direct: belongs to/],
    [['send', '--disk', 'a=b'], /--to: is needed/],
    [['send', '--to', '127.0.0.1:1'], /--control or --disk: one of them is needed/],
    [['send', '--control', 'x', '--disk', 'a=b', '--to', '127.0.0.1:1'], /--disk: a=b has a path/],
    [['send', '--disk', 'a=b', '--to', 'nowhere'], /--to: nowhere is no HOST:PORT/],
    [[...kSend, '--downtime', '300'], /--downtime: 300 is no time/],
    [[...kSend, '--downtime', '0ms'], /--downtime: 0ms is no time/],
    [[...kSend, '--write-latency', 'x'], /--write-latency: x is no time/],
    [[...kSend, '--deadline', '2 years'], /--deadline: 2 years is no time/],
    [[...kSend, '--bandwidth', '50'], /--bandwidth: 50 is no rate/],
    [[...kSend, '--switchover', 'soon'], /--switchover: soon is none of auto, manual and a date/],
    [[...kSend, '--switchover', '2030-02-31T99:00:00Z'], /--switchover/],
    [[...kSend, '--throttle', 'hard'], /--throttle: hard is none of bucket, steps, none/],
    [[...kSend, '--compression', 'much'], /--compression: much is none of auto, on, off/],
    [[...kSend, '--streams', '0'], /--streams: 0 is no number from 1 to 16/],
    [[...kSend, '--streams', '1e1'], /--streams: 1e1 is no number from 1 to 16/],
    [[...kSend, '--block-size', '5000'], /--block-size: 5000 is no power of two/],
    [[...kSend, '--link-timeout', '10ms'], /--link-timeout: 10ms is less than 1s/],
    [[...kSend, '--tap', 'nbd'], /--tap: nbd is none of bpf, dm, auto/],
    [[...kSend, '--tap', 'bpf'], /--tap: bpf needs --machine/],
    [[...kSend, '--holes', 'some'], /--holes: some is none of auto, trust, read/],
    [['send', '--control', 'x', '--holes', 'read', '--to', '127.0.0.1:1'], /--holes: does not go with --control/],
    [['serve', '--disk', 'a=b', '--listen', 'unix:x', '--holes', 'some'], /--holes: some is none of/],
    [['receive', '--control', 'x', '--listen', '127.0.0.1:0', '--holes', 'read'], /--holes: belongs to --disk/],
    [[...kSend, '--cgroup', '/x'], /--cgroup: belongs to --tap/],
    [[...kSend, '--machine', 'qemu:/x'], /--machine: belongs to --control or --tap/],
    [['send', '--control', 'x', '--tap', 'bpf', '--to', '127.0.0.1:1'], /--tap: does not go with --control/],
    [['probe'], /DEVICE: is needed/],
    [['probe', '/dev/a', '/dev/b'], /'\/dev\/b'/],
    [['send', '--control', 'x', '--maps', '/run', '--to', '127.0.0.1:1'], /--maps: belongs to the serve/],
    [['recover', '--force'], /--force: belongs to --device/],
    [['recover', '--device', 'a='], /--device: a= is no DEVICE/],
    [['recover', '--device', 'a', '--force', '--journal', 'j'], /--force: belongs to --device/],
    [['recover', '--machine', 'xen:web'], /--machine: belongs to --journal/],
    [['recover', '--journal', 'j', '--machine', 'qemu:/x'], /--machine: must be xen:DOMAIN/],
    [['recover', '--journal', 'j', '--machine', 'a=b'], /--machine: must be qemu:PATH/],
    [['recover', '--journal', 'j', '--machine', 'disk=xen:12'], /xl takes 12 for a number/],
    [['pause'], /--control: is needed/],
    [['set', '--control', 'x'], /--downtime, --write-latency, --deadline or --bandwidth/],
    [['set', '--control', 'x', '--bandwidth', 'x'], /--bandwidth: x is no rate/],
    [[...kRedirect, 'pigeon'], /tunnel.kind: must be one of/],
    [[...kRedirect, 'tun'], /--tunnel: tun needs --tls-psk or --tls-cert, or --plain/],
    [[...kRedirect, 'tun', '--tls-psk', 'k', '--tls-ca', 'c'], /--tls-psk: is not for use with --tls-cert/],
    [[...kRedirect, 'tun', '--plain', '--tls-psk', 'k'], /--plain: contradicts --tls-psk/],
    [[...kRedirect, 'tun', '--plain', '--tls-cert', 'c', '--tls-key', 'k', '--tls-ca', 'a'], /--plain: contradicts --tls-cert/],
    [[...kRedirect, 'tun', '--plain', '--tls-identity', 'i'], /--tls-identity: belongs to --tls-psk/],
    [[...kRedirect, 'tun', '--plain', '--tls-peer', 'p'], /--tls-peer: belongs to --tls-cert/],
    [[...kRedirect, 'tun', '--tls-cert', 'c', '--tls-ca', 'c'], /--tls-key: is needed, too/],
    [[...kRedirect, 'tun', '--tls-psk'], /--tls-psk/]
  ]
  const check = async ([args, message]: [string[], RegExp]) => {
    const { code, stdout, stderr } = await run(t, ...args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, /^blockferry: INVALID: /)
    t.match(stderr, message)
    t.match(stderr, /See: blockferry .*--help\n$/)
    t.equal(stdout, '')
  }
  while (cases.length > 0) await Promise.all(cases.splice(0, 4).map(check))
})

t.test('with --json the error is an event on stdout', async (t) => {
  const { code, stdout, stderr } = await run(t, ...kSend, '--streams', '99', '--json')
  t.equal(code, 2)
  t.equal(stderr, '')
  t.match(jsonLines(stdout), [{ event: 'failed', error: { code: 'INVALID', message: /--streams/ } }])
})
