-- Something is thrown and caught, which takes LuaJIT the unwinder.
function answer()
    local is_fine, what = pcall(function() error("thrown", 0) end)
    if is_fine or what ~= "thrown" then
        return -1
    end
    return 1
end
