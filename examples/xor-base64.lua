-- XOR with a key, then base64: for xor-base64.cfg and http-tunnel.cfg.
--
-- When to use it: as a pattern for your own. It is plain Lua 5.1, which Kamailio's app_lua runs as
-- well; LuaJIT's bit library, which is here too, would make it shorter.

local KEY = "change me"

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local byte, char, floor = string.byte, string.char, math.floor

-- XOR of two numbers below 16.
local NIBBLES = {}
for a = 0, 15 do
    NIBBLES[a] = {}
    for b = 0, 15 do
        local sum, bit, x, y = 0, 1, a, b
        while bit < 16 do
            if x % 2 ~= y % 2 then sum = sum + bit end
            x, y, bit = floor(x / 2), floor(y / 2), bit * 2
        end
        NIBBLES[a][b] = sum
    end
end

local function mask(text)
    local out, length = {}, #KEY
    for at = 1, #text do
        local a, b = byte(text, at), byte(KEY, (at - 1) % length + 1)
        out[at] = char(NIBBLES[floor(a / 16)][floor(b / 16)] * 16 + NIBBLES[a % 16][b % 16])
    end
    return table.concat(out)
end

local SIGN, VALUE = {}, {}
for at = 1, 64 do
    SIGN[at - 1] = ALPHABET:sub(at, at)
    VALUE[ALPHABET:byte(at)] = at - 1
end

local function base64(text)
    local out = {}
    for at = 1, #text, 3 do
        local a, b, c = byte(text, at, at + 2)
        local bits = a * 65536 + (b or 0) * 256 + (c or 0)
        out[#out + 1] = SIGN[floor(bits / 262144)] .. SIGN[floor(bits / 4096) % 64]
            .. (b and SIGN[floor(bits / 64) % 64] or "=") .. (c and SIGN[bits % 64] or "=")
    end
    return table.concat(out)
end

-- nil for what is no base64.
local function unbase64(text)
    if #text % 4 ~= 0 then return nil end
    local out = {}
    for at = 1, #text, 4 do
        local a, b, c, d = byte(text, at, at + 3)
        local last = at + 4 > #text
        local pad = last and (c == 61 and d == 61 and 2 or d == 61 and 1) or 0
        local w, x = VALUE[a], VALUE[b]
        local y = pad == 2 and 0 or VALUE[c]
        local z = pad >= 1 and 0 or VALUE[d]
        if not (w and x and y and z) then return nil end
        local bits = w * 262144 + x * 4096 + y * 64 + z
        out[#out + 1] = char(floor(bits / 65536), floor(bits / 256) % 256, bits % 256):sub(1, 3 - pad)
    end
    return table.concat(out)
end

-- The hook on the way in: what was encoded is SIP again, what wasn't goes on as it is.
function decode()
    local message = KSR.pv.get("$mb")
    local masked = unbase64(message)
    KSR.pv.sets("$avp(msg)", masked and mask(masked) or message)
end

-- The hook on the way out.
function encode()
    KSR.pv.sets("$avp(msg)", base64(mask(KSR.pv.get("$mb"))))
end

-- The same inside of HTTP: a request on the way in, a response on the way out.
function decode_http()
    local body = KSR.pv.get("$mb"):match("^POST [^\r\n]*\r\n.-\r\n\r\n(.*)$")
    local masked = body and unbase64(body)
    -- An empty AVP drops what came by the tunnel and isn't what the client app makes.
    KSR.pv.sets("$avp(msg)", masked and mask(masked) or "")
end

function encode_http()
    local body = base64(mask(KSR.pv.get("$mb")))
    KSR.pv.sets("$avp(msg)", "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        .. "Content-Length: " .. #body .. "\r\n\r\n" .. body)
end
