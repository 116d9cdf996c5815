// blockferry: moves a running machine's disk from one host to another while it keeps writing.
export { BlockferryError } from './errors.js'
export type { ErrorCode, Owner } from './errors.js'
export { migrate } from './migrate.js'
export { receive } from './receive.js'
export type { Receiver } from './receive.js'
export type { Migration } from './migration/migration.js'
export type { MigrateOptions, ReceiveOptions, SourceDisk, TargetDisk } from './migration/options.js'
export type { MigrationEvent, Progress, ReceiveEvent } from './migration/events.js'
export type {
  ByteCounts, DestinationReport, DiskReport, DowntimePhases, Report
} from './migration/report.js'
export type {
  Machine, MachineDescription, MemoryMachine, MemoryProgress, PauseLimits
} from './machine/machine.js'
export { qemu, QemuMachine } from './machine/qemu.js'
export type { QemuOptions } from './machine/qemu.js'
export { SharedBandwidth } from './shared-bandwidth.js'
export { openTap, Tap } from './tap.js'
export type { Extent, TapOptions, TapState, TapStats, TapThrottle } from './tap.js'
export { NbdClient, NbdError } from './nbd/client.js'
export { NbdServer } from './nbd/server.js'
export type { NbdAddress, NbdServerOptions } from './nbd/server.js'
export type { Budgets, Forecast, Infeasible } from './policy/types.js'
export { parseRate, parseSize, parseTime } from './units.js'
export { capabilities } from './capabilities.js'
export type { Capabilities } from './capabilities.js'
