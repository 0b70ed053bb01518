-- The standard functions that scripts find: none leaves the process, waits, or gets out of the
-- bounds of a call. What is used later is held in locals, as scripts may change globals.

local rust = ...

local error, pairs, select, tostring, type = error, pairs, select, tostring, type
local raw_load, raw_pcall, raw_xpcall, raw_count = load, pcall, xpcall, collectgarbage
local byte, concat, sub = string.byte, table.concat, string.sub
local raw_format, raw_gmatch, raw_gsub, raw_sort = string.format, string.gmatch, string.gsub, table.sort
local create, raw_resume = coroutine.create, coroutine.resume
local ending, scan = rust.ending, rust.scan

-- Functions in C that call Lua, and coroutines, take some of the thread's own stack, of which
-- LuaJIT doesn't know the end: `depth` counts those that are open. `base` is what it was when the
-- coroutine that runs was resumed, as that may be at another depth the next time.
local MAX_DEPTH = 150
local depth, base = 0, 0

local function deeper()
    if depth >= MAX_DEPTH then
        error("C stack overflow", 3)
    end
    depth = depth + 1
end

local function leave(...)
    depth = depth - 1
    return ...
end

local function guarded(f)
    return function(...)
        deeper()
        return leave(f(...))
    end
end

-- Whether an error is the end of the call, which mustn't go on in whoever catches errors. One of
-- Lua's own is text, for which nothing is asked: there may be no memory for it.
local function is_last(reason)
    return (type(reason) == "userdata" or reason == "error in error handling") and ending()
end

local function settle(relative, ok, ...)
    depth = base + relative
    if ok then
        return true, ...
    end
    local reason = ...
    if is_last(reason) then
        error(reason, 0)
    end
    if type(reason) == "userdata" then
        reason = rust.reason(reason)
    end
    return false, reason
end

function pcall(f, ...)
    return settle(depth - base, raw_pcall(f, ...))
end
local pcall = pcall

local traceback = rust.traceback

local function handle(handler, ok, ...)
    if ok then
        return true, ...
    end
    return false, select(2, pcall(handler, ...))
end

-- LuaJIT counts no instructions of a handler that runs where the count ran out, so all but one
-- handler run a little later, when the stack is unwound.
function xpcall(f, handler, ...)
    if handler == traceback then
        return settle(depth - base, raw_xpcall(f, traceback, ...))
    end
    return handle(handler, pcall(f, ...))
end

local function resumed(old_depth, old_base, ok, ...)
    depth, base = old_depth, old_base
    if not ok and is_last((...)) then
        error((...), 0)
    end
    return ok, ...
end

local function resume(co, ...)
    local old_depth, old_base = depth, base
    deeper()
    base = depth
    return resumed(old_depth, old_base, raw_resume(co, ...))
end

local function unwrap(ok, ...)
    if not ok then
        error((...), 0)
    end
    return ...
end

coroutine.resume = resume
coroutine.wrap = function(f)
    local co = create(f)
    return function(...)
        return unwrap(resume(co, ...))
    end
end

-- Strings -----------------------------------------------------------------------------------

string.dump = nil
string.find, string.match = rust.find, rust.match
string.format = guarded(raw_format)

-- How long a subject LuaJIT's own functions may search for a pattern; they can't be interrupted,
-- but are quicker where they are called for each match.
local longest, known = {}, 0
local function is_quick(subject, pattern)
    if type(subject) ~= "string" or type(pattern) ~= "string" then
        return true
    end
    local most = longest[pattern]
    if not most then
        if known >= 256 then
            longest, known = {}, 0
        end
        most = rust.longest(pattern)
        longest[pattern], known = most, known + 1
    end
    return #subject <= most
end

function string.gmatch(subject, pattern)
    if is_quick(subject, pattern) then
        return raw_gmatch(subject, pattern)
    end
    local at = 1
    local function step(first, after, ...)
        if not first then
            at = nil
            return nil
        end
        at = after > first and after or after + 1
        if select("#", ...) == 0 then
            return sub(subject, first, after - 1)
        end
        return ...
    end
    return function()
        if at then
            return step(scan(subject, pattern, at, false))
        end
    end
end

-- What a template of gsub() stands for.
local function expand(template, whole, ...)
    local out, at, length = {}, 1, #template
    while at <= length do
        local to = rust.find(template, "%", at, true)
        if not to or to == length then
            out[#out + 1] = sub(template, at)
            break
        end
        out[#out + 1] = sub(template, at, to - 1)
        local digit = byte(template, to + 1) - 48
        if digit < 0 or digit > 9 then
            out[#out + 1] = sub(template, to + 1, to + 1)
        elseif digit == 0 or (digit == 1 and select("#", ...) == 0) then
            out[#out + 1] = whole
        elseif digit > select("#", ...) then
            error("invalid capture index", 0)
        else
            out[#out + 1] = tostring((select(digit, ...)))
        end
        at = to + 2
    end
    return concat(out)
end

local raw_gsub = guarded(raw_gsub)
function string.gsub(subject, pattern, by, most)
    if is_quick(subject, pattern) then
        return raw_gsub(subject, pattern, by, most)
    end
    local kind = type(by)
    if kind == "number" then
        by, kind = tostring(by), "string"
    elseif kind ~= "string" and kind ~= "table" and kind ~= "function" then
        error("bad argument #3 to 'gsub' (string/function/table expected)", 2)
    end
    local anchored = byte(pattern) == 94
    if anchored then
        pattern = sub(pattern, 2)
    end
    local out, count, at, size = {}, 0, 1, #subject
    most = most or size + 1
    local function step(first, after, ...)
        if not first then
            return false
        end
        count = count + 1
        out[#out + 1] = sub(subject, at, first - 1)
        local whole, value = sub(subject, first, after - 1), nil
        if kind == "string" then
            value = expand(by, whole, ...)
        else
            local key = whole
            if select("#", ...) > 0 then
                key = ...
            end
            if kind == "table" then
                value = by[key]
            elseif select("#", ...) > 0 then
                value = by(...)
            else
                value = by(whole)
            end
        end
        if not value then
            value = whole
        elseif type(value) ~= "string" and type(value) ~= "number" then
            error("invalid replacement value (a " .. type(value) .. ")", 3)
        end
        out[#out + 1] = value
        at = after
        if after == first then
            out[#out + 1] = sub(subject, at, at)
            at = at + 1
        end
        return not anchored and at <= size + 1
    end
    while count < most and step(scan(subject, pattern, at, anchored)) do
    end
    out[#out + 1] = sub(subject, at)
    return concat(out), count
end

-- Tables ------------------------------------------------------------------------------------

local function less(a, b)
    return a < b
end

local sort = guarded(raw_sort)
-- Comparisons in Lua can be interrupted.
function table.sort(t, before)
    return sort(t, before or less)
end

-- Code --------------------------------------------------------------------------------------

-- Only text: bytecode that no compiler made can do anything to the process.
local function load(chunk, name, _, env)
    if type(chunk) == "function" then
        local parts, size = {}, 0
        for part in chunk do
            if part == "" then
                break
            end
            parts[#parts + 1] = part
            size = size + #part
            if size > rust.max_source then
                return nil, "the chunk is too long"
            end
        end
        chunk = concat(parts)
        name = name or "=(load)"
    elseif type(chunk) == "string" and #chunk > rust.max_source then
        return nil, "the chunk is too long"
    end
    if env ~= nil then
        return raw_load(chunk, name, "t", env)
    end
    return raw_load(chunk, name, "t")
end
_G.load = load

function loadstring(text, name)
    if type(text) ~= "string" then
        error("bad argument #1 to 'loadstring' (string expected, got " .. type(text) .. ")", 2)
    end
    return load(text, name)
end

function loadfile(path)
    local text, name = rust.read_file(path)
    if not text then
        return nil, name
    end
    return load(text, "@" .. name)
end

function dofile(path)
    local chunk, reason = loadfile(path)
    if not chunk then
        error(reason, 2)
    end
    return chunk()
end

local loaded, preload = {}, {}
for name, value in pairs({ string = string, table = table, math = math, bit = bit, coroutine = coroutine, _G = _G }) do
    loaded[name] = value
end
package = { loaded = loaded, preload = preload, path = rust.path, cpath = "" }

function require(name)
    if loaded[name] ~= nil then
        return loaded[name]
    end
    local chunk, reason = preload[name], nil
    if not chunk then
        local text, file = rust.read_module(name)
        if not text then
            error("module '" .. tostring(name) .. "' not found: " .. file, 2)
        end
        chunk, reason = load(text, "@" .. file)
        if not chunk then
            error(reason, 2)
        end
    end
    -- What a module that requires itself gets.
    loaded[name] = true
    local ok, value = pcall(chunk, name)
    if not ok then
        loaded[name] = nil
        error(value, 0)
    end
    if value ~= nil then
        loaded[name] = value
    end
    return loaded[name]
end

-- The process -------------------------------------------------------------------------------

-- A finalizer can't be interrupted, and only proxies can have one.
newproxy = nil

-- The collector runs as it should in any case.
function collectgarbage(what)
    if what == "count" then
        return raw_count("count")
    end
    return 0
end

os = { clock = os.clock, date = os.date, difftime = os.difftime, getenv = os.getenv, time = os.time }
debug = { traceback = traceback }

local function line(separator, ...)
    local out = {}
    for at = 1, select("#", ...) do
        out[at] = tostring((select(at, ...)))
    end
    rust.log("info", concat(out, separator))
end

function print(...)
    line("\t", ...)
end

-- Standard output is the daemon's own: what is written goes to the log.
local stream = {}
function stream.write(_, ...)
    line("", ...)
    return stream
end
function stream.flush()
    return stream
end
function stream.setvbuf()
    return true
end
io = { stdout = stream, stderr = stream, write = function(...) return stream:write(...) end }

-- Runs ----------------------------------------------------------------------------------------

local function idle()
    error("this is there only while a message is handled", 3)
end

local host, outer = idle, {}

return function(new)
    outer[#outer + 1] = { host, depth, base }
    host, base = new, depth
end, function()
    local before = outer[#outer]
    outer[#outer] = nil
    host, depth, base = before[1], before[2], before[3]
end, function(...)
    return host(...)
end
