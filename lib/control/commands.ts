// What each command of the control protocol does to the disks of a process.
import { BlockferryError } from '../base/errors.js'
import type { DiskHost } from './disk-host.js'
import type { Emit } from './job.js'
import type { CommandName, Commands } from './protocol.js'
import type { Handler } from './server.js'

type Body<C extends CommandName> = (
  host: DiskHost, request: Commands[C]['arguments'], emit: Emit
) => Commands[C]['result'] | Promise<Commands[C]['result']>

interface Entry<C extends CommandName> {
  run: Body<C>
  checks: Record<string, (value: unknown) => boolean>
}

const isText = (value: unknown) => typeof value === 'string'
const isObject = (value: unknown) => typeof value === 'object' && value !== null
const isTexts = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isText)
const isFlag = (value: unknown) => typeof value === 'boolean'
const isAny = () => true
const kSelection = { migration: isText }

const kCommands: { [C in CommandName]: Entry<C> } = {
  status: { checks: {}, run: (host) => host.status() },
  send: {
    // migrate() looks at what is let through here.
    checks: {
      disks: isTexts, to: isText, tls: isAny, switchover: isText, machine: isText,
      redirect: isObject, budgets: isObject, throttle: isAny,
      equality: isAny, reuse: isAny, reconnect: isAny, compression: isAny, blockSize: isAny,
      streams: isAny, linkTimeout: isAny
    },
    run: async (host, request, emit) => ({ report: await host.send(request, emit) })
  },
  receive: {
    checks: {
      disks: isTexts, listen: isText, tls: isAny, keepListening: isFlag, allocate: isFlag, machine: isText,
      redirect: isObject, linkTimeout: isAny
    },
    run: async (host, request, emit) => {
      await host.takeBack(request, emit)
      return {}
    }
  },
  pause: {
    checks: kSelection,
    run: (host, { migration }) => {
      host.sendJob(migration).pause()
      return {}
    }
  },
  resume: {
    checks: kSelection,
    run: (host, { migration }) => {
      host.sendJob(migration).resume()
      return {}
    }
  },
  switchover: {
    checks: kSelection,
    run: (host, { migration }) => {
      host.sendJob(migration).migration.switchover()
      return {}
    }
  },
  set: {
    checks: { ...kSelection, budgets: isObject },
    run: (host, { migration, budgets }) => {
      host.sendJob(migration).migration.setLimits(budgets)
      return {}
    }
  },
  cancel: {
    checks: { ...kSelection, destination: (value) => value === 'keep' || value === 'delete' },
    run: async (host, { migration, destination = 'keep' }) => {
      await host.job(migration).cancel(destination)
      return {}
    }
  }
}

/** Answers the control socket's commands. Errors: PROTOCOL, and those of the commands. */
export function commandHandler (host: DiskHost): Handler {
  return async (command, request, emit) => {
    if (!Object.hasOwn(kCommands, command)) {
      throw new BlockferryError('PROTOCOL', `control socket: no command ${command}`)
    }
    const { run, checks } = kCommands[command as CommandName] as Entry<any>
    for (const [key, value] of Object.entries(request)) {
      if (Object.hasOwn(checks, key) && checks[key]!(value)) continue
      throw new BlockferryError('PROTOCOL', `control socket: ${command}.${key} makes no sense`)
    }
    return await run(host, request as any, emit)
  }
}
