// Objects of one size in pages of one block each.
//
//   page   | header 32 B | object | object | ... |   an object finds its page by its address
//
// A page is in slab->partial while it has a free object; a full page is in no list, an empty one is
// returned. Objects never lent since the page was borrowed lie behind `fresh` and are not linked.
#include "base/slab.h"
#include "base/check.h"
#include "base/poison.h"
#include <assert.h>
#include <string.h>

struct slab_page {
    struct slab_page *next, *previous;
    struct free_object {
        struct free_object *next;
    } *free;
    uint16_t used;
    uint16_t fresh; // offset of the first object never lent
};
enum { PAGE_HEADER = 32 };
static_assert(sizeof(struct slab_page) <= PAGE_HEADER, "objects start on 16 bytes");

void slab_init(struct slab *slab, struct block_cache *blocks, size_t object_bytes)
{
    size_t rounded = (object_bytes + 15) & ~(size_t)15;
    CHECK(rounded > 0 && rounded <= BLOCK_BYTES - PAGE_HEADER);
    *slab = (struct slab){.blocks = blocks, .object_bytes = (uint32_t)rounded};
}

static bool has_fresh(const struct slab *slab, const struct slab_page *page)
{
    return page->fresh + slab->object_bytes <= BLOCK_BYTES;
}

static void partial_push(struct slab *slab, struct slab_page *page)
{
    page->previous = NULL;
    page->next = slab->partial;
    if (page->next != NULL)
        page->next->previous = page;
    slab->partial = page;
}

static void partial_remove(struct slab *slab, struct slab_page *page)
{
    if (page->previous != NULL)
        page->previous->next = page->next;
    else
        slab->partial = page->next;
    if (page->next != NULL)
        page->next->previous = page->previous;
}

static struct slab_page *page_borrow(struct slab *slab)
{
    struct slab_page *page = (struct slab_page *)block_borrow(slab->blocks);
    if (page == NULL)
        return NULL;
    *page = (struct slab_page){.fresh = PAGE_HEADER};
    poison((uint8_t *)page + PAGE_HEADER, BLOCK_BYTES - PAGE_HEADER);
    partial_push(slab, page);
    return page;
}

void *slab_borrow(struct slab *slab)
{
    struct slab_page *page = slab->partial;
    if (page == NULL && (page = page_borrow(slab)) == NULL)
        return NULL;
    void *object = page->free;
    if (object != NULL) {
        unpoison(object, slab->object_bytes);
        page->free = page->free->next;
    } else {
        object = (uint8_t *)page + page->fresh;
        unpoison(object, slab->object_bytes);
        page->fresh = (uint16_t)(page->fresh + slab->object_bytes);
    }
    page->used++;
    slab->used++;
    if (page->free == NULL && !has_fresh(slab, page))
        partial_remove(slab, page);
    return memset(object, 0, slab->object_bytes);
}

void slab_return(struct slab *slab, void *object)
{
    struct slab_page *page = (struct slab_page *)((uintptr_t)object & ~(uintptr_t)(BLOCK_BYTES - 1));
    CHECK(page->used > 0 && slab->used > 0);
    bool was_full = page->free == NULL && !has_fresh(slab, page);
    page->used--;
    slab->used--;
    if (page->used == 0) {
        if (!was_full)
            partial_remove(slab, page);
        unpoison((uint8_t *)page + PAGE_HEADER, BLOCK_BYTES - PAGE_HEADER);
        block_return(slab->blocks, (struct block *)page);
        return;
    }
    if (was_full)
        partial_push(slab, page);
    struct free_object *freed = object;
    freed->next = page->free;
    page->free = freed;
    poison(object, slab->object_bytes);
}
