-- Shows what a codec chain of corex made of SIP: codec by codec, and the plain message by Wireshark's
-- own SIP dissector. The README beside this file says how to install and use it.
--
-- Wireshark's Lua has no ciphers, so `corex decode --lines` decodes: one process, started when the first
-- message is there and asked once for each message. Without it, what stands on the wire in the clear is
-- shown: heads of http, aead, zstd, gzip.

local VERSION = "corex decode 1"
-- The protocol of a stream, in pinfo.port_type.
local PORT_TYPE_TCP = 2
-- A longer message of a stream is no message.
local MAX_MESSAGE = 1048576
-- What is kept of messages that were decoded: bytes of replies.
local MAX_KEPT = 64 * 1048576
-- So many times for each capture corex is started again after it ended.
local MAX_STARTS = 3
-- Codecs that are recognised one inside the other where corex can't be asked.
local MAX_HEADS = 4

local corex = Proto("corex", "corex codec chain")

corex.prefs.udp_ports = Pref.range("UDP ports", "",
    "Ports with messages of the chain, as in 5060,5070-5079", 65535)
corex.prefs.tcp_ports = Pref.range("TCP ports", "",
    "Ports with messages of a chain that ends in http", 65535)
corex.prefs.program = Pref.string("corex", "corex",
    "The program, by its path or as it is found in PATH. Empty: show heads alone")
corex.prefs.config = Pref.string("Configuration", "",
    "A file with the lines modparam(\"codec\", …) of chain, keys and dictionaries; the path is absolute")
corex.prefs.devices = Pref.string("Keys of devices", "",
    "A file with lines UUID=[GENERATION:]KEY, for chains with key=device; the path is absolute")
corex.prefs.enrol_keys = Pref.string("Keys to enrol with", "",
    "What devices enrol with, as the server has it: [ID:]file:PATH, several with blanks between them")
corex.prefs.chain = Pref.string("Chain", "",
    "The chain's name, where the configuration has several")

local f = {
    chain = ProtoField.string("corex.chain", "Chain"),
    direction = ProtoField.string("corex.direction", "Direction"),
    wire_len = ProtoField.uint32("corex.wire_len", "Bytes on the wire"),
    plain_len = ProtoField.uint32("corex.plain_len", "Bytes of the plain message"),
    ratio = ProtoField.double("corex.ratio", "Percent of the plain message on the wire"),
    codec = ProtoField.string("corex.codec", "Codec"),
    error = ProtoField.string("corex.error", "Error"),
    error_codec = ProtoField.string("corex.error.codec", "In the codec"),
    error_text = ProtoField.string("corex.error.text", "That is"),
    aead_version = ProtoField.uint8("corex.aead.version", "Version", base.HEX),
    aead_key_id = ProtoField.uint8("corex.aead.key_id", "Key ID"),
    aead_session = ProtoField.bytes("corex.aead.session", "Session"),
    aead_began = ProtoField.absolute_time("corex.aead.began", "Session began", base.UTC),
    aead_counter = ProtoField.uint32("corex.aead.counter", "Number in the session"),
    aead_text = ProtoField.bytes("corex.aead.ciphertext", "Ciphertext"),
    aead_tag = ProtoField.bytes("corex.aead.tag", "Tag"),
    aead_device = ProtoField.guid("corex.aead.device", "Device"),
    aead_generation = ProtoField.uint8("corex.aead.generation", "Generation of the key"),
    enrol_method = ProtoField.uint8("corex.enrolment.method", "Method", base.DEC, {
        "PSK", "RSA-OAEP", "HPKE, ChaCha20-Poly1305", "HPKE, AES-256-GCM",
    }),
    enrol_key_id = ProtoField.uint8("corex.enrolment.key_id", "ID of the server's key"),
    enrol_sealed = ProtoField.bytes("corex.enrolment.sealed", "Sealed"),
    answer_nonce = ProtoField.bytes("corex.answer.nonce", "Nonce of the enrolment"),
    answer_status = ProtoField.uint8("corex.answer.status", "Status", base.DEC, {
        [0] = "accepted", [1] = "the UUID is taken",
    }),
    answer_seconds = ProtoField.uint32("corex.answer.seconds", "Seconds that the key is valid"),
    answer_proof = ProtoField.bytes("corex.answer.proof", "Proof"),
    http_start = ProtoField.string("corex.http.start_line", "Start line"),
    http_head_len = ProtoField.uint32("corex.http.head_len", "Bytes of the head"),
    http_body_len = ProtoField.uint32("corex.http.body_len", "Bytes of the body"),
    zstd_dictionary = ProtoField.uint32("corex.zstd.dictionary", "Dictionary"),
    zstd_content = ProtoField.uint64("corex.zstd.content_size", "Bytes unpacked"),
}
local fields = {}
for _, field in pairs(f) do fields[#fields + 1] = field end
corex.fields = fields

local e = {
    undecoded = ProtoExpert.new("corex.undecoded", "The message doesn't decode",
        expert.group.DECRYPTION, expert.severity.WARN),
    unasked = ProtoExpert.new("corex.unasked", "corex can't be asked",
        expert.group.DECRYPTION, expert.severity.NOTE),
    cut = ProtoExpert.new("corex.cut", "The message isn't whole",
        expert.group.MALFORMED, expert.severity.WARN),
}
corex.experts = { e.undecoded, e.unasked, e.cut }

local sip = Dissector.get("sip")
local data = Dissector.get("data")

------------------------------------------------------------------------------------------------------
-- The process that decodes

-- A word for the shell.
local function quoted(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What a command writes first; nil if that is nothing.
local function first_line(command)
    local pipe = io.popen(command, "r")
    local line = pipe and pipe:read("*l")
    if pipe then pipe:close() end
    return line
end

local process = { starts = 0 }

-- Closes what is open. The process ends when it has read its input to the end.
function process:stop(reason)
    if self.replies then self.replies:close() end
    if self.requests then self.requests:close() end
    self.replies, self.requests, self.reason = nil, nil, reason
end

-- Where another capture or another configuration begins.
function process:reset()
    self:stop(nil)
    self.starts = 0
end

function process:start()
    self.starts = self.starts + 1
    local program = corex.prefs.program
    if program == "" or corex.prefs.config == "" then
        return self:stop("the preferences name no " ..
            (program == "" and "program" or "configuration"))
    end
    -- A program that is something else may never answer.
    local version = first_line("timeout 10 " .. quoted(program) .. " --version 2>&1 </dev/null")
    if not (version and version:match("^corex ")) then
        return self:stop(program .. " is no corex: " .. (version or "it says nothing"))
    end
    local folder = first_line("mktemp -d")
    if not folder then return self:stop("there is no folder for a FIFO") end
    local fifo = folder .. "/replies"
    if first_line("mkfifo -m 600 " .. quoted(fifo) .. " 2>&1 && echo made") ~= "made" then
        os.remove(folder)
        return self:stop("no FIFO can be made in " .. folder)
    end
    local command = quoted(program) .. " decode --lines --config " .. quoted(corex.prefs.config)
    if corex.prefs.devices ~= "" then
        command = command .. " --devices " .. quoted(corex.prefs.devices)
    end
    for key in corex.prefs.enrol_keys:gmatch("%S+") do
        command = command .. " --enrol-key " .. quoted(key)
    end
    if corex.prefs.chain ~= "" then
        command = command .. " --chain " .. quoted(corex.prefs.chain)
    end
    -- Whatever becomes of corex, somebody reads the pipe: writing to one that nobody reads would end
    -- a Wireshark that doesn't ignore SIGPIPE (tshark does).
    self.requests = io.popen(command .. " >" .. quoted(fifo) .. " 2>&1; exec cat >/dev/null", "w")
    self.replies = self.requests and io.open(fifo, "r")
    os.remove(fifo)
    os.remove(folder)
    local hello = self.replies and self.replies:read("*l")
    if not (hello and hello:sub(1, #VERSION + 1) == VERSION .. "\t") then
        local words = { hello or "corex doesn't start" }
        while hello and #words < 8 do
            local line = self.replies:read("*l")
            if not line then break end
            if line:match("%S") then words[#words + 1] = line end
        end
        return self:stop(table.concat(words, "\n"))
    end
    self.chain = hello:match("^[^\t]*\t([^\t]*)")
end

-- The reply to a message, or nil and why there is none.
function process:ask(bytes)
    if not self.requests and self.starts < MAX_STARTS and not self.reason then self:start() end
    if not self.requests then return nil, self.reason or "corex ended" end
    self.requests:write("either ", bytes:tohex(true), "\n")
    self.requests:flush()
    local reply = self.replies:read("*l")
    if reply then return reply end
    self:stop(nil)
    return nil, "corex ended while it decoded"
end

------------------------------------------------------------------------------------------------------
-- What was decoded, so that each message is asked for once

local kept = {}

function kept:clear()
    self.replies, self.order, self.first, self.last, self.bytes = {}, {}, 1, 0, 0
end

function kept:add(key, reply)
    self.last = self.last + 1
    self.order[self.last] = key
    self.replies[key] = reply
    self.bytes = self.bytes + #reply
    while self.bytes > MAX_KEPT do
        local oldest = self.order[self.first]
        self.bytes = self.bytes - #self.replies[oldest]
        self.replies[oldest], self.order[self.first] = nil, nil
        self.first = self.first + 1
    end
end

kept:clear()

-- What corex says of a message: its fields, or nil and why there are none.
local function decoded(tvb, pinfo)
    local key = pinfo.number .. ":" .. tvb:offset() .. ":" .. tvb:len()
    local reply = kept.replies[key]
    if not reply then
        local why
        reply, why = process:ask(tvb:bytes())
        if not reply then return nil, why end
        kept:add(key, reply)
    end
    local words = {}
    for word in (reply .. "\t"):gmatch("([^\t]*)\t") do words[#words + 1] = word end
    local steps, from = {}, words[1] == "ok" and 3 or 6
    for at = from, #words do
        local codec, hex = words[at]:match("^(%w+)=(%x*)$")
        if codec then steps[#steps + 1] = { codec = codec, hex = hex } end
    end
    if words[1] == "ok" then return { direction = words[2], steps = steps } end
    if words[1] == "error" then
        return {
            error = words[2], codec = words[3], direction = words[4], text = words[5], steps = steps,
        }
    end
    return nil, "corex says: " .. reply:sub(1, 200)
end

------------------------------------------------------------------------------------------------------
-- What stands in the clear

local function is_sip(tvb)
    local line = tvb:raw(0, math.min(tvb:len(), 512)):match("^[^\r\n]*")
    return line:match("^SIP/2%.0 %d%d%d") ~= nil or line:match("^%u+ %S+ SIP/2%.0$") ~= nil
end

-- Where the head of HTTP or SIP ends, in bytes; nil: not here.
local function head_len(text)
    local _, at = text:find("\n\r?\n")
    return at
end

local head = {}

-- Of a session: its name and a message's number.
local function session(tvb, tree, at)
    tree:add(f.aead_session, tvb(at, 10))
    tree:add(f.aead_began, tvb(at, 4), NSTime.new(tvb(at, 4):uint(), 0))
    tree:add(f.aead_counter, tvb(at + 10, 4))
end

-- By the first byte: where the session is, behind the key's ID, the device's or the generation.
local SESSIONS = { [0xc1] = 2, [0xc2] = 18, [0xc6] = 2 }

function head.aead(tvb, tree)
    local version = tvb:len() > 0 and tvb(0, 1):uint()
    local at = SESSIONS[version]
    if not at or tvb:len() < at + 14 + 16 then return end
    tree:add(f.aead_version, tvb(0, 1))
    if version == 0xc1 then
        tree:add(f.aead_key_id, tvb(1, 1))
    else
        if version == 0xc2 then tree:add(f.aead_device, tvb(1, 16)) end
        tree:add(f.aead_generation, tvb(at - 1, 1))
    end
    session(tvb, tree, at)
    local text = at + 14
    local len = tvb:len() - text - 16
    if len > 0 then tree:add(f.aead_text, tvb(text, len)) end
    tree:add(f.aead_tag, tvb(tvb:len() - 16, 16))
    return true
end

-- docs/enrolment.md has these.
function head.enrolment(tvb, tree)
    if tvb:len() < 5 or tvb(0, 1):uint() ~= 0xc3 then return end
    local len = tvb(3, 2):uint()
    if tvb:len() < 5 + len then return end
    tree:add(f.aead_version, tvb(0, 1))
    tree:add(f.enrol_method, tvb(1, 1))
    tree:add(f.enrol_key_id, tvb(2, 1))
    if len > 0 then tree:add(f.enrol_sealed, tvb(5, len)) end
    local rest = tvb:len() - 5 - len
    return true, rest > 0 and tvb(5 + len, rest):tvb() or nil
end

function head.answer(tvb, tree)
    if tvb:len() ~= 54 or tvb(0, 1):uint() ~= 0xc4 then return end
    tree:add(f.aead_version, tvb(0, 1))
    tree:add(f.answer_nonce, tvb(1, 16))
    tree:add(f.answer_status, tvb(17, 1))
    tree:add(f.answer_seconds, tvb(18, 4))
    tree:add(f.answer_proof, tvb(22, 32))
    return true
end

function head.notice(tvb, tree)
    if tvb:len() ~= 15 or tvb(0, 1):uint() ~= 0xc5 then return end
    tree:add(f.aead_version, tvb(0, 1))
    session(tvb, tree, 1)
    return true
end

function head.http(tvb, tree)
    local text = tvb:raw()
    local line = text:match("^[^\r\n]*")
    local len = head_len(text)
    if not len or not (line:match("^HTTP/1%.") or line:match(" HTTP/1%.%d$")) then return end
    tree:add(f.http_start, tvb(0, #line), line)
    tree:add(f.http_head_len, tvb(0, len), len)
    local body = tvb:len() - len
    tree:add(f.http_body_len, body > 0 and tvb(len, body) or tvb(0, len), body)
    return true, body > 0 and tvb(len, body):tvb() or nil
end

-- RFC 8878, 3.1.1.1.
function head.zstd(tvb, tree)
    if tvb:len() < 6 or tvb(0, 4):le_uint() ~= 0xfd2fb528 then return end
    local descriptor = tvb(4, 1):uint()
    local is_single = math.floor(descriptor / 32) % 2 == 1
    local at = is_single and 5 or 6
    local len = ({ [0] = 0, 1, 2, 4 })[descriptor % 4]
    if tvb:len() < at + len then return end
    if len > 0 then tree:add_le(f.zstd_dictionary, tvb(at, len)) end
    at = at + len
    len = ({ [0] = is_single and 1 or 0, 2, 4, 8 })[math.floor(descriptor / 64)]
    if len == 0 or tvb:len() < at + len then return true end
    local size = tvb(at, len):le_uint64()
    -- Of two bytes, 256 are taken off.
    if len == 2 then size = size + 256 end
    tree:add(f.zstd_content, tvb(at, len), size)
    return true
end

function head.gzip(tvb)
    return tvb:len() >= 18 and tvb(0, 3):uint() == 0x1f8b08
end

-- The order matters little: no two begin alike.
local HEADS = { "http", "aead", "enrolment", "answer", "notice", "zstd", "gzip" }
-- What belongs to enrolment, and carries a message or none.
local CONTROL = { enrolment = true, answer = true, notice = true }

local function codec_tree(tree, tvb, name)
    local subtree = tree:add(f.codec, tvb(), name)
    subtree:append_text(", " .. tvb:len() .. " bytes")
    return subtree
end

-- Shows the heads that can be recognised, and hands over what is plain inside.
local function show_heads(tvb, pinfo, tree, root)
    for _ = 1, MAX_HEADS do
        if tvb:len() > 0 and is_sip(tvb) then return sip:call(tvb, pinfo, root) end
        local found, inner
        for _, name in ipairs(HEADS) do
            -- Nothing is shown of a head that isn't there.
            found, inner = head[name](tvb, { add = function() end, add_le = function() end })
            if found then
                head[name](tvb, codec_tree(tree, tvb, name))
                pinfo.cols.info:append(" " .. name)
                break
            end
        end
        if not inner then return end
        tvb = inner
    end
end

------------------------------------------------------------------------------------------------------
-- One message

local function percent(part, whole)
    return whole > 0 and 100 * part / whole or 0
end

-- Shows the steps, and returns what the last one made.
local function show_steps(tvb, pinfo, tree, result)
    for _, step in ipairs(result.steps) do
        if CONTROL[step.codec] then pinfo.cols.info:set("corex: " .. step.codec) end
        local subtree = codec_tree(tree, tvb, step.codec)
        if head[step.codec] then head[step.codec](tvb, subtree) end
        if step.hex == "" then return nil end
        subtree:append_text(" to " .. #step.hex / 2)
        tvb = ByteArray.new(step.hex):tvb("without " .. step.codec)
    end
    return tvb
end

local function show_error(tvb, pinfo, tree, result)
    if tvb then
        local subtree = codec_tree(tree, tvb, result.codec)
        if head[result.codec] then head[result.codec](tvb, subtree) end
    end
    tree:add(f.error, result.error)
    tree:add(f.error_codec, result.codec)
    tree:add(f.error_text, result.text)
    tree:add_proto_expert_info(e.undecoded, result.error .. ": " .. result.text)
    pinfo.cols.info:set(result.error .. " (" .. result.codec .. ")")
end

local function message(tvb, pinfo, root)
    -- Where peers may send plain SIP as well.
    if is_sip(tvb) then return sip:call(tvb, pinfo, root) end
    pinfo.cols.protocol:set("corex")
    pinfo.cols.info:set("corex")
    local tree = root:add(corex, tvb())
    tree:add(f.wire_len, tvb(), tvb:len())
    if tvb:reported_len() > tvb:len() then
        tree:add_proto_expert_info(e.cut, "of " .. tvb:reported_len() .. " bytes " .. tvb:len() ..
            " were captured")
        return show_heads(tvb, pinfo, tree, root)
    end
    local result, why = decoded(tvb, pinfo)
    if not result then
        tree:add_proto_expert_info(e.unasked, why)
        return show_heads(tvb, pinfo, tree, root)
    end
    tree:add(f.chain, process.chain or "")
    tree:add(f.direction, result.direction)
    local plain = show_steps(tvb, pinfo, tree, result)
    if result.error then return show_error(plain, pinfo, tree, result) end
    local last = result.steps[#result.steps]
    if not plain and last and CONTROL[last.codec] then
        tree:append_text(", " .. (process.chain or "") .. ": " .. last.codec)
        return
    end
    local len = plain and plain:len() or 0
    tree:add(f.plain_len, len)
    tree:add(f.ratio, percent(tvb:len(), len))
    tree:append_text(string.format(", %s, %s: %d bytes for %d, %.0f %%", process.chain or "",
        result.direction, tvb:len(), len, percent(tvb:len(), len)))
    if not plain then return end
    pinfo.cols.info:set("corex: " .. len .. " bytes, not SIP")
    if is_sip(plain) then sip:call(plain, pinfo, root) else data:call(plain, pinfo, root) end
end

------------------------------------------------------------------------------------------------------
-- Datagrams and streams

-- The length of the message that a stream holds at `at`; nil: more is needed, `wanted` bytes where
-- that is known; false: there is none.
local function framed(tvb, at)
    local text = tvb:raw(at, math.min(tvb:len() - at, 65536))
    local len = head_len(text)
    if not len then return (#text < 65536) and nil end
    local fields = "\n" .. text:sub(1, len):lower()
    local body = fields:match("\ncontent%-length[ \t]*:[ \t]*(%d+)") or fields:match("\nl[ \t]*:[ \t]*(%d+)")
    local whole = len + tonumber(body or 0)
    if whole > MAX_MESSAGE then return false end
    local missing = at + whole - tvb:len()
    if missing > 0 then return nil, missing end
    return whole
end

local function stream(tvb, pinfo, root)
    local at = 0
    while at < tvb:len() do
        local byte = tvb(at, 1):uint()
        if byte == 13 or byte == 10 then
            -- A keep-alive.
            at = at + 1
        else
            local len, missing = framed(tvb, at)
            if len == nil and pinfo.can_desegment > 0 then
                pinfo.desegment_offset = at
                pinfo.desegment_len = missing or DESEGMENT_ONE_MORE_SEGMENT
                return tvb:len()
            end
            if not len then
                pinfo.cols.protocol:set("corex")
                local tree = root:add(corex, tvb(at))
                tree:add_proto_expert_info(e.cut, "no whole message of HTTP or SIP begins here")
                return tvb:len()
            end
            message(tvb(at, len):tvb(), pinfo, root)
            pinfo.cols.info:fence()
            at = at + len
        end
    end
    return tvb:len()
end

function corex.dissector(tvb, pinfo, root)
    if pinfo.port_type == PORT_TYPE_TCP then return stream(tvb, pinfo, root) end
    -- Line breaks or zeros: what keeps a NAT open.
    if not tvb:raw():find("[^\0\r\n]") then
        pinfo.cols.protocol:set("corex")
        pinfo.cols.info:set("keep-alive")
        root:add(corex, tvb()):append_text(", keep-alive")
        return tvb:len()
    end
    message(tvb, pinfo, root)
    return tvb:len()
end

------------------------------------------------------------------------------------------------------
-- Preferences and captures

local tables = {
    udp_ports = DissectorTable.get("udp.port"),
    tcp_ports = DissectorTable.get("tcp.port"),
}
local ports = {}

function corex.prefs_changed()
    for name, dissectors in pairs(tables) do
        if ports[name] and ports[name] ~= "" then dissectors:remove(ports[name], corex) end
        ports[name] = corex.prefs[name]
        if ports[name] ~= "" then dissectors:add(ports[name], corex) end
    end
    process:reset()
    kept:clear()
end

function corex.init()
    process:reset()
    kept:clear()
end

for _, dissectors in pairs(tables) do dissectors:add_for_decode_as(corex) end
