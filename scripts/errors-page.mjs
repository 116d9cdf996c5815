/** docs/errors.md of the table in lib/base/error-codes.ts. */
export function errorsPage (errors) {
  const rows = Object.entries(errors).map(([code, { means, advice }]) => `| \`${code}\` | ${means} | ${advice} |`)
  return `# Errors

Every error that leaves the library is a \`BlockferryError\`: \`code\`, one of these, which are stable; \`message\`, for
people, whose words may change; \`owner\`, who may write to the disks now (\`source\`, \`destination\`, \`unknown\`: start
neither side before the destination has been asked; null where no migration was going on); \`resumable\`, whether what
was copied is of use to a later attempt; \`errno\`, the system's number behind it, 0 if none.

This page is made of \`lib/base/error-codes.ts\` by \`npm run docs\`.

| Code | What it means | What to do |
| --- | --- | --- |
${rows.join('\n')}
`
}
