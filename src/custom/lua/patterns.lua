-- Patterns, once more: the library's own cannot be stopped, and some take longer than the universe has. What surely ends
-- soon goes there; the rest is matched here, where a code that takes too long is seen.
local byte, char, error, select, sub, type = string.byte, string.char, error, select, string.sub, type
local find, format, gmatch, gsub, match = string.find, string.format, string.gmatch, string.gsub, string.match
local concat, huge, tonumber, tostring, unpack = table.concat, math.huge, tonumber, tostring, table.unpack

-- So many steps of the library are few enough.
local STEPS_MAX = ...
local PATTERN_BYTES_MAX = 10000
local MAGIC = "[%^%$%*%+%?%.%(%[%%%-]"

local function text(value, at, name)
    if type(value) == "number" then return tostring(value) end
    if type(value) == "string" then return value end
    error(format("bad argument #%d to '%s' (string expected, got %s)", at, name, type(value)), 3)
end

-- Whether the library surely ends soon: each item that repeats may be tried at each length, from each place, and each
-- time the rest of the pattern is walked through; sets are.
local quantifiers, known = {}, 0
local function is_cheap(s, p)
    local count = quantifiers[p]
    if not count then
        if known > 1000 then quantifiers, known = {}, 0 end
        -- More than the library's own patterns need; here each set is looked through at a time when nobody can stop it.
        if #p > PATTERN_BYTES_MAX then error("the pattern is longer than " .. PATTERN_BYTES_MAX .. " bytes", 3) end
        count = select(2, gsub(p, "[%*%+%-%?]", "")) + select(2, gsub(p, "%%[b1-9]", "")) + 1
        quantifiers[p], known = count, known + 1
    end
    return (#s + 1) ^ count * (#p + 1) <= STEPS_MAX
end

-- The characters that an item of a pattern matches: asked once each of the library.
local items, item_count = {}, 0
local function item(p, from, to)
    local source = sub(p, from, to)
    local chars = items[source]
    if not chars then
        if item_count > 1000 then items, item_count = {}, 0 end
        chars = {}
        for code = 0, 255 do
            if #source == 1 and source ~= "." then chars[code] = code == byte(source)
            else chars[code] = find(char(code), source) ~= nil end
        end
        items[source], item_count = chars, item_count + 1
    end
    return chars
end

local function item_end(p, at)
    local first = sub(p, at, at)
    if first == "%" then
        if at == #p then error("malformed pattern (ends with '%')", 0) end
        return at + 2
    end
    if first ~= "[" then return at + 1 end
    at = at + 1
    if sub(p, at, at) == "^" then at = at + 1 end
    repeat
        if at > #p then error("malformed pattern (missing ']')", 0) end
        if sub(p, at, at) == "%" then at = at + 1 end
        at = at + 1
    until sub(p, at, at) == "]"
    return at + 1
end

local try

local function capture(m, number)
    local one = m[number]
    if not one or one.size == "open" then error("invalid capture index", 0) end
    if one.size == "place" then return one.start end
    return sub(m.s, one.start, one.start + one.size - 1)
end

-- Returns where the match ends, or nil. `at`: in the text, `pt`: in the pattern.
function try(m, at, pt)
    local s, p = m.s, m.p
    while pt <= #p do
        local sign, second = sub(p, pt, pt), sub(p, pt + 1, pt + 1)
        if sign == "(" then
            local is_place = second == ")"
            m.level = m.level + 1
            if m.level > 32 then error("too many captures", 0) end
            m[m.level] = { start = at, size = is_place and "place" or "open" }
            local ended = try(m, at, pt + (is_place and 2 or 1))
            if not ended then m.level = m.level - 1 end
            return ended
        elseif sign == ")" then
            local level = m.level
            while level > 0 and m[level].size ~= "open" do level = level - 1 end
            if level == 0 then error("invalid pattern capture", 0) end
            m[level].size = at - m[level].start
            local ended = try(m, at, pt + 1)
            if not ended then m[level].size = "open" end
            return ended
        elseif sign == "$" and pt == #p then
            return at == #s + 1 and at or nil
        elseif sign == "%" and second == "b" then
            local open, close = sub(p, pt + 2, pt + 2), sub(p, pt + 3, pt + 3)
            if close == "" then error("malformed pattern (missing arguments to '%b')", 0) end
            if sub(s, at, at) ~= open then return nil end
            local depth, look = 1, at + 1
            while depth > 0 do
                local letter = sub(s, look, look)
                if letter == "" then return nil end
                if letter == close then depth = depth - 1 elseif letter == open then depth = depth + 1 end
                look = look + 1
            end
            at, pt = look, pt + 4
        elseif sign == "%" and second == "f" then
            if sub(p, pt + 2, pt + 2) ~= "[" then error("missing '[' after '%f' in pattern", 0) end
            local to = item_end(p, pt + 2)
            local set = item(p, pt + 2, to - 1)
            if set[at > 1 and byte(s, at - 1) or 0] or not set[byte(s, at) or 0] then return nil end
            pt = to
        elseif sign == "%" and find(second, "^[0-9]") then
            local known_text = capture(m, tonumber(second))
            if sub(s, at, at + #known_text - 1) ~= known_text then return nil end
            at, pt = at + #known_text, pt + 2
        else
            local to = item_end(p, pt)
            local set, how = item(p, pt, to - 1), sub(p, to, to)
            local fits = at <= #s and set[byte(s, at)]
            if how == "?" then
                local ended = fits and try(m, at + 1, to + 1)
                if ended then return ended end
                pt = to + 1
            elseif how == "*" or how == "+" then
                if how == "+" and not fits then return nil end
                local last = at
                while last <= #s and set[byte(s, last)] do last = last + 1 end
                for place = last, how == "+" and at + 1 or at, -1 do
                    local ended = try(m, place, to + 1)
                    if ended then return ended end
                end
                return nil
            elseif how == "-" then
                while true do
                    local ended = try(m, at, to + 1)
                    if ended then return ended end
                    if at > #s or not set[byte(s, at)] then return nil end
                    at = at + 1
                end
            else
                if not fits then return nil end
                at, pt = at + 1, to
            end
        end
    end
    return at
end

-- The first match from `at` on: start, end, captures.
local function first(s, p, at, is_anchored)
    while at <= #s + 1 do
        local m = { s = s, p = p, level = 0 }
        local ended = try(m, at, is_anchored and 2 or 1)
        if ended then
            local captures = { n = m.level }
            for number = 1, m.level do captures[number] = capture(m, number) end
            return at, ended - 1, captures
        end
        if is_anchored then return nil end
        at = at + 1
    end
end

local function place(s, init)
    init = init or 1
    if init < 0 then init = #s + init + 1 end
    return init < 1 and 1 or init
end

function string.find(s, p, init, plain)
    s, p = text(s, 1, "find"), text(p, 2, "find")
    if plain or not find(p, MAGIC) then
        if #s * #p > 1e10 then error("string.find: too much to look for", 2) end
        return find(s, p, init, plain)
    end
    if is_cheap(s, p) then return find(s, p, init) end
    local from, to, captures = first(s, p, place(s, init), sub(p, 1, 1) == "^")
    if not from then return nil end
    return from, to, unpack(captures, 1, captures.n)
end

function string.match(s, p, init)
    s, p = text(s, 1, "match"), text(p, 2, "match")
    if is_cheap(s, p) then return match(s, p, init) end
    local from, to, captures = first(s, p, place(s, init), sub(p, 1, 1) == "^")
    if not from then return nil end
    if captures.n == 0 then return sub(s, from, to) end
    return unpack(captures, 1, captures.n)
end

function string.gmatch(s, p, init)
    s, p = text(s, 1, "gmatch"), text(p, 2, "gmatch")
    if is_cheap(s, p) then return gmatch(s, p, init) end
    local at, last = place(s, init), nil
    return function()
        while true do
            local from, to, captures = first(s, p, at, false)
            if not from then at = #s + 2 return nil end
            if to ~= last then
                at, last = to + 1, to
                if captures.n == 0 then return sub(s, from, to) end
                return unpack(captures, 1, captures.n)
            end
            at = from + 1
        end
    end
end

local function replaced(whole, captures, by)
    local one = captures.n > 0 and captures[1] or whole
    local value
    if type(by) == "table" then value = by[one]
    elseif type(by) == "function" then
        if captures.n > 0 then value = by(unpack(captures, 1, captures.n)) else value = by(whole) end
    else
        return (gsub(by, "%%(.)", function(sign)
            if sign == "0" then return whole end
            if sign == "1" then return tostring(one) end
            if find(sign, "^[2-9]") then
                local known_text = captures[tonumber(sign)]
                if not known_text then error("invalid capture index in replacement string", 0) end
                return tostring(known_text)
            end
            if sign == "%" then return "%" end
            error("invalid use of '%' in replacement string", 0)
        end))
    end
    if not value then return whole end
    if type(value) ~= "string" and type(value) ~= "number" then
        error("invalid replacement value (a " .. type(value) .. ")", 0)
    end
    return tostring(value)
end

function string.gsub(s, p, by, max)
    s, p = text(s, 1, "gsub"), text(p, 2, "gsub")
    if type(by) == "number" then by = tostring(by) end
    if is_cheap(s, p) then return gsub(s, p, by, max) end
    local is_anchored = sub(p, 1, 1) == "^"
    local pieces, at, count, last = {}, 1, 0, nil
    while count < (max or huge) and at <= #s + 1 do
        local from, to, captures = first(s, p, at, is_anchored)
        if not from then break end
        if from > at then pieces[#pieces + 1] = sub(s, at, from - 1) end
        if to ~= last then
            count = count + 1
            pieces[#pieces + 1] = replaced(sub(s, from, to), captures, by)
            at, last = to + 1, to
        else
            -- Nothing, right behind the last match.
            pieces[#pieces + 1] = sub(s, from, from)
            at = from + 1
        end
        if is_anchored then break end
    end
    pieces[#pieces + 1] = sub(s, at)
    return concat(pieces), count
end
