// --maps FOLDER: a map file for each disk.
import { join } from 'node:path'

/** The map file of a disk, in the folder for them. */
export function mapOf (folder: string | undefined, name: string): { map?: string } {
  return folder === undefined ? {} : { map: join(folder, `${encodeURIComponent(name)}.map`) }
}
