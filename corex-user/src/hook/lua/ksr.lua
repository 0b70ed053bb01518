-- KSR and sr: the functions of Kamailio's KEMI, by its names.

local rust, host, op, functions = ...

local ipairs, pairs, select, tonumber, tostring, type =
    ipairs, pairs, select, tonumber, tostring, type
local floor, gmatch, match = math.floor, string.gmatch, string.match
local unpack = unpack

KSR = { x = {}, pv = {}, hdr = {}, pvx = {} }
local KSR = KSR

-- Every function of every module. A row is the module's name, the function's, and the number that
-- the host knows it by.
for _, row in ipairs(functions) do
    local module, name, number = unpack(row, 1, 3)
    local into = KSR
    if module ~= "core" then
        into = KSR[module] or {}
        KSR[module] = into
    end
    into[name] = function(...)
        return host(op.call, number, ...)
    end
end

-- Log lines -----------------------------------------------------------------------------------

for _, level in ipairs({ "dbg", "info", "notice", "warn", "err", "crit" }) do
    KSR[level] = function(text)
        rust.log(level, text)
        return false
    end
end

function KSR.log(level, text)
    rust.log(level, text)
    return false
end

local xlog = KSR.xlog
xlog.xalert = function(text)
    return xlog.xlog("L_ALERT", text)
end
xlog.xcrit = function(text)
    return xlog.xlog("L_CRIT", text)
end

local raw_xlog = xlog.xlog
local LEVELS = { alert = "L_ALERT", bug = "L_BUG", crit = "L_CRIT", err = "L_ERR", warn = "L_WARN",
    notice = "L_NOTICE", info = "L_INFO", dbg = "L_DBG" }
xlog.xlog = function(level, text)
    if text == nil then
        return raw_xlog(level)
    end
    return raw_xlog(LEVELS[level] or level, text)
end

-- Pseudo-variables ------------------------------------------------------------------------------

local pv = KSR.pv

local function get(name)
    return host(op.get, name)
end
pv.get = get

local function or_else(name, other)
    local value = get(name)
    if value == nil then
        return other
    end
    return value
end

pv.getvn, pv.getvs = or_else, or_else
function pv.gete(name)
    return or_else(name, "")
end
function pv.getw(name)
    return or_else(name, "<null>")
end

-- What C makes of text that should be a number.
local function number(value)
    value = type(value) == "string" and tonumber(match(value, "^%s*([+-]?%d+)")) or value
    return type(value) == "number" and value or 0
end

function pv.geti(name)
    return number(get(name))
end

-- Text of anything; Kamailio takes nil and what has no text as empty.
local function text(value)
    local kind = type(value)
    return (kind == "string" or kind == "number") and tostring(value) or ""
end

function pv.sets(name, ...)
    if select("#", ...) == 0 then
        return host(op.wrong, "pv.sets", "not enough parameters")
    end
    return host(op.set, name, text((...)))
end
function pv.seti(name, ...)
    if select("#", ...) == 0 then
        return host(op.wrong, "pv.seti", "not enough parameters")
    end
    return host(op.set, name, number((...)))
end
function pv.unset(name)
    return host(op.set, name, nil)
end
function pv.is_null(name)
    return get(name) == nil
end

-- Values as KEMI's families of functions give them.
local function family(into, prefix, suffix, read)
    into[prefix .. "get" .. suffix] = read
    into[prefix .. "gete" .. suffix] = function(...)
        local value = read(...)
        if value == nil then
            return ""
        end
        return value
    end
    into[prefix .. "getw" .. suffix] = function(...)
        local value = read(...)
        if value == nil then
            return "<null>"
        end
        return value
    end
end

local function code(holds)
    return holds and 1 or -1
end

for _, class in ipairs({ "var", "shv", "avp" }) do
    local pvx, prefix = KSR.pvx, class .. "_"
    local function called(name)
        return "$" .. class .. "(" .. text(name) .. ")"
    end
    family(pvx, prefix, "", function(name)
        return get(called(name))
    end)
    pvx[prefix .. "sets"] = function(name, value)
        return code(pv.sets(called(name), value))
    end
    pvx[prefix .. "seti"] = function(name, value)
        return code(pv.seti(called(name), value))
    end
end
function KSR.pvx.avp_rm(name)
    return code(pv.unset("$avp(" .. text(name) .. ")"))
end
function KSR.pvx.avp_is_null(name)
    return code(pv.is_null("$avp(" .. text(name) .. ")"))
end

-- Headers ---------------------------------------------------------------------------------------

local hdr = KSR.hdr

-- A function of another module, which needn't be loaded for it.
local function builtin(name)
    return function(...)
        return host(op.builtin, name, ...)
    end
end

local append, insert, remove = builtin("append_hf"), builtin("insert_hf"), builtin("remove_hf")
hdr.append, hdr.append_after = append, append
hdr.insert, hdr.insert_before = insert, insert
function hdr.remove(name)
    remove(name)
    return 1
end
function hdr.rmappend(name, lines)
    remove(name)
    return append(lines)
end
function hdr.rminsert(name, lines)
    remove(name)
    return insert(lines)
end
hdr.is_present = builtin("is_present_hf")
hdr.append_to_reply = builtin("append_to_reply")
family(hdr, "", "", function(name)
    return get("$hdr(" .. text(name) .. ")")
end)
family(hdr, "", "_idx", function(name, index)
    return get("$(hdr(" .. text(name) .. ")[" .. floor(number(index)) .. "])")
end)

-- The message -----------------------------------------------------------------------------------

for _, method in ipairs({ "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "SUBSCRIBE", "PUBLISH", "NOTIFY",
    "REFER", "INFO", "UPDATE", "PRACK", "MESSAGE", "KDMQ", "GET", "POST", "PUT", "DELETE" }) do
    KSR["is_" .. method] = function()
        return get("$rm") == method
    end
end

function KSR.is_method(list)
    local method = get("$rm")
    for one in gmatch(text(list), "[^|]+") do
        if one == method then
            return true
        end
    end
    return false
end

local LETTERS = { A = "ACK", B = "BYE", C = "CANCEL", D = "DELETE", E = "PRACK", F = "REFER", G = "GET", I = "INVITE",
    K = "KDMQ", M = "MESSAGE", N = "NOTIFY", O = "OPTIONS", P = "PUBLISH", R = "REGISTER", S = "SUBSCRIBE",
    T = "PUT", U = "UPDATE", V = "POST" }
function KSR.is_method_in(letters)
    local method = get("$rm")
    for letter in gmatch(text(letters), ".") do
        if LETTERS[letter] == method then
            return true
        end
    end
    return false
end

for _, transport in ipairs({ "UDP", "TCP", "TLS", "WS", "WSS", "SCTP" }) do
    KSR["is_" .. transport] = function()
        return get("$proto") == transport:lower()
    end
end
function KSR.is_WSX()
    return KSR.is_WS() or KSR.is_WSS()
end
-- Letters of transports, or the name of one.
local PROTOCOLS = { U = "udp", T = "tcp", S = "tls", C = "sctp", W = "ws" }
function KSR.is_proto(letters)
    local transport = get("$proto")
    letters = text(letters)
    if letters:lower() == transport then
        return true
    end
    for letter in gmatch(letters, ".") do
        if PROTOCOLS[letter:upper()] == transport then
            return true
        end
    end
    return false
end
function KSR.is_IPv4()
    return get("$af") == "INET"
end
function KSR.is_IPv6()
    return get("$af") == "INET6"
end
function KSR.is_src_port(port)
    return get("$sp") == number(port)
end
function KSR.is_dst_port(port)
    return get("$Rp") == number(port)
end

function KSR.is_myself(uri)
    return host(op.myself, uri)
end
for name, variable in pairs({ ruri = "$ru", duri = "$du", furi = "$fu", turi = "$tu" }) do
    KSR["is_myself_" .. name] = function()
        local uri = get(variable)
        return uri ~= nil and KSR.is_myself(uri)
    end
end
function KSR.is_myself_nhuri()
    return KSR.is_myself(get("$du") or get("$ru"))
end
function KSR.is_myself_srcip()
    local address = get("$si")
    return KSR.is_myself("sip:" .. (get("$af") == "INET6" and "[" .. address .. "]" or address))
end
function KSR.is_myself_suri()
    local address = get("$si")
    return KSR.is_myself("sip:" .. (get("$af") == "INET6" and "[" .. address .. "]" or address) .. ":" .. get("$sp"))
end

-- Modules whose functions have other names or lists of parameters -----------------------------------

local corex = KSR.corex
local append_branch = corex.append_branch
function corex.append_branch()
    return append_branch()
end
corex.append_branch_uri, corex.append_branch_uri_q = append_branch, append_branch
function corex.has_ruri_user()
    return code((get("$rU") or "") ~= "")
end
function corex.has_user_agent()
    return code((get("$ua") or "") ~= "")
end
function corex.set_send_socket(socket)
    return code(KSR.force_send_socket(socket))
end
corex.set_send_socket_name = corex.set_send_socket
-- With one parameter the content is the result, as in KEMI.
local file_read = corex.file_read
local CONTENT = "$var(KSR.corex.file_read)"
function corex.file_read(path, variable)
    if variable then
        return file_read(path, variable)
    end
    local content = nil
    local done = file_read(path, CONTENT)
    if type(done) == "number" and done > 0 then
        content = get(CONTENT)
        pv.seti(CONTENT, 0)
    end
    return content
end

KSR.textops.has_body_type = KSR.textops.has_body
KSR.siputils.uri_param_value = KSR.siputils.uri_param
for name, own in pairs({ run = "lua_run", run_p1 = "lua_run", run_p2 = "lua_run", run_p3 = "lua_run",
    dofile = "lua_dofile", dostring = "lua_dostring", runstring = "lua_runstring" }) do
    KSR.app_lua[name] = KSR.app_lua[own]
end

local htable = KSR.htable
local function cell(name, key)
    return "$sht(" .. text(name) .. "=>" .. text(key) .. ")"
end
family(htable, "sht_", "", function(name, key)
    return get(cell(name, key))
end)
function htable.sht_sets(name, key, value)
    return code(pv.sets(cell(name, key), value))
end
function htable.sht_seti(name, key, value)
    return code(pv.seti(cell(name, key), value))
end
function htable.sht_is_null(name, key)
    return code(pv.is_null(cell(name, key)))
end
function htable.sht_inc(name, key)
    return get("$shtinc(" .. text(name) .. "=>" .. text(key) .. ")") or -255
end
function htable.sht_dec(name, key)
    return get("$shtdec(" .. text(name) .. "=>" .. text(key) .. ")") or -255
end
function htable.sht_rm_name_re(name, pattern)
    return htable.sht_rm_name(name, "re", pattern)
end
function htable.sht_rm_value_re(name, pattern)
    return htable.sht_rm_value(name, "re", pattern)
end

-- The script ------------------------------------------------------------------------------------

-- Both end what lua_run() called; the configuration's route goes on, as in Kamailio.
function KSR.x.exit()
    return host(op.exit)
end
KSR.x.drop = KSR.x.exit
function KSR.x.modf(name, ...)
    return host(op.modf, name, ...)
end
function KSR.route(name)
    return host(op.route, name)
end

-- The older interface -------------------------------------------------------------------------------

sr = {
    pv = {},
    hdr = {},
    log = function(level, line)
        rust.log(level, line)
    end,
    modf = KSR.x.modf,
    probe = function()
        rust.log("err", "someone probing from lua")
    end,
}
for name, value in pairs(KSR) do
    if sr[name] == nil then
        sr[name] = value
    end
end
for _, level in ipairs({ "dbg", "info", "notice", "warn", "err", "crit" }) do
    sr[level] = function(line)
        rust.log(level, line)
    end
end
for name, f in pairs(pv) do
    sr.pv[name] = f
end
for name, f in pairs(hdr) do
    sr.hdr[name] = f
end
-- Those that change something have no result.
for _, name in ipairs({ "sets", "seti", "unset" }) do
    sr.pv[name] = function(...)
        pv[name](...)
    end
end
for _, name in ipairs({ "append", "remove", "insert", "append_to_reply" }) do
    sr.hdr[name] = function(...)
        hdr[name](...)
    end
end
