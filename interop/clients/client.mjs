// A session of the TypeScript SDK's client. The argument is JSON: {sdk, transport,
// era, target, env, calls: [{tool, arguments}], cancel}. "JOB" in arguments becomes the
// id of the last job. When the calls are to be cancelled they are at their first text;
// "cancelled" is then printed, and the session goes on at the end of standard input. At
// the end a report is printed: JSON in one line.
const plan = JSON.parse(process.argv[1])

// SDK 1 speaks versions up to 2025-11-25, SDK 2 those and 2026-07-28.
async function connect() {
  const capabilities = { elicitation: {} }
  const info = { name: 'interop', version: '1' }
  const elicited = async request => {
    report.elicited.push(request.params)
    return { action: 'accept', content: { username: 'ada', email: 'ada@example.org' } }
  }
  if (plan.sdk === 1) {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js')
    const { ElicitRequestSchema } = await import('@modelcontextprotocol/sdk/types.js')
    const client = new Client(info, { capabilities })
    client.setRequestHandler(ElicitRequestSchema, elicited)
    return [client, await transport(
      (await import('@modelcontextprotocol/sdk/client/stdio.js')).StdioClientTransport,
      (await import('@modelcontextprotocol/sdk/client/sse.js')).SSEClientTransport,
      (await import('@modelcontextprotocol/sdk/client/streamableHttp.js')).StreamableHTTPClientTransport)]
  }
  const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio')
  const mode = plan.era === 'modern' ? { pin: '2026-07-28' } : 'legacy'
  const client = new Client(info, { capabilities, versionNegotiation: { mode } })
  client.setRequestHandler('elicitation/create', elicited)
  return [client, await transport(StdioClientTransport, SSEClientTransport, StreamableHTTPClientTransport)]
}

async function transport(Stdio, SSE, HTTP) {
  switch (plan.transport) {
    case 'stdio': return new Stdio({ command: plan.target[0], args: plan.target.slice(1), env: { ...process.env, ...plan.env } })
    case 'sse': return new SSE(new URL(plan.target[0]))
    case 'http': return new HTTP(new URL(plan.target[0]))
  }
  throw new Error(`no transport ${plan.transport}`)
}

const report = { messages: [], errors: [], elicited: [], calls: [] }
const [client, wire] = await connect()
client.onerror = error => report.errors.push(String(error))
await client.connect(wire)
const next = wire.onmessage
const abort = new AbortController()
wire.onmessage = (message, extra) => {
  report.messages.push(message)
  next.call(wire, message, extra)
  if (plan.cancel && message.params?._meta?.['ollama-mcp/delta']) abort.abort('enough')
}

report.tools = (await client.listTools()).tools.map(tool => tool.name)
const options = { signal: abort.signal, timeout: 60_000, onprogress: () => {} }
let job = null
for (const { tool, arguments: given } of plan.calls) {
  const params = { name: tool, arguments: JSON.parse(JSON.stringify(given).replaceAll('"JOB"', JSON.stringify(job))) }
  const call = { tool }
  report.calls.push(call)
  try {
    call.result = await (plan.sdk === 1 ? client.callTool(params, undefined, options) : client.callTool(params, options))
    job = call.result.structuredContent?.job?.id ?? job
  } catch (error) {
    call.rejected = String(error)
  }
}
Object.assign(report, report.calls.at(-1))
if (plan.cancel) {
  console.log('cancelled')
  for await (const _ of process.stdin);
}
// On one ordered connection, whatever was still to come for the call is here before this.
report.again = (await client.listTools()).tools.length
report.protocol = plan.sdk === 1 ? wire.protocolVersion ?? null : client.getNegotiatedProtocolVersion()
client.onerror = undefined // closing aborts its own streams
await wire.terminateSession?.()
await client.close()
process.stdout.write(JSON.stringify(report) + '\n', () => process.exit()) // exit would cut what a pipe has not taken
